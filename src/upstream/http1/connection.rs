//! An HTTP/1 connection together with its sender.
//!
//! See the [module docs](super) for which task drives it when. This file has the states of a connection between
//! exchanges:
//!
//! - *Unused*: the handshake is done, nothing has been sent.
//! - *In use*: [`try_send`](Http1::try_send) has taken a request; the holder calls [`drive`](Http1::drive).
//! - *Idle*: the exchange is over and [`is_reusable`](Http1::is_reusable) returned `true`. The reaper is woken by
//!   whatever happens on the socket, and [`is_usable`](Http1::is_usable) is the last check before the next request.
//! - *Detached*: a task drives the connection to its end; it does not return to the pool.
//! - *Ended*: hyper's driver has completed. Nothing can be sent, and the holder drops it.
//!
//! Dropping an [`Http1`] closes its socket at once, in every state but *detached*.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::{
    runtime,
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{io::Http1Io, io_state::IoState, waker::ConnectionWaker};
use crate::{
    body::Body,
    error::{Error, ErrorKind},
    record::ClientConnection,
    telemetry::CloseCause,
    upstream::{
        bounds::MessageBounds,
        connect::Io,
        lease::{Home, Lease},
    },
};

/// A connection and its sender, both idle or both in use.
///
/// Boxed for as long as the connection lives: hyper's part is about 1.8 KB, and would be copied each time it moves
/// between the pool, the request's future and the response body.
pub(in crate::upstream) struct Http1(Box<Ends>);

/// The contents of an [`Http1`].
struct Ends {
    /// Takes requests. Not ready while an exchange is in progress, closed when the driver has ended.
    sender: http1::SendRequest<Body>,
    /// hyper's connection, until it has completed.
    ///
    /// It has to be dropped then, and not kept: a request that it never took waits in its channel, and returns to the
    /// sender, as one that can be sent elsewhere, only with the drop.
    driver: Option<Driver>,
    /// What is shared with the stream under `driver`.
    io: Arc<IoState>,
    /// Whether a request has been sent on this connection, so that the next one must look for a close first.
    used: bool,
    /// Whether the request body is not sent, because the response came before the endpoint asked for it. The connection
    /// cannot be reused: its request has no end.
    body_withheld: bool,
    /// The only client connection whose requests may be sent here, once the connection has been authenticated. See
    /// `auth.rs`.
    owner: Option<ClientConnection>,
    /// The runtime whose I/O driver watches the socket.
    runtime: runtime::Id,
    /// When the connection takes no more requests: see `ClientBuilder::max_lifetime`. `None` means never.
    expires: Option<Instant>,
    /// Receives the wake-ups of the driver, and forwards them to the current holder.
    waker: Arc<ConnectionWaker>,
    /// `waker` as a `Waker`, made once instead of with every poll.
    driver_waker: Waker,
    /// The reaper's waker, registered while the connection is idle.
    keeper: Waker,
    /// The pool that the connection returns to. Weak, as the pool holds its idle connections.
    home: Weak<dyn Home<Http1>>,
}

/// hyper's side of a connection: reads, parses and writes when it is polled.
type Driver = http1::Connection<TokioIo<Http1Io>, Body>;

/// Bytes that hyper reads ahead of a response's reader, or holds of a request until the socket takes them.
///
/// The limit is the size of a response head if that is larger, since a head has to fit into the buffer.
const BUFFER: usize = 256 * 1024;

/// How long an upload may continue after its response has ended. nginx's `lingering_time` has the same default.
const LINGER: Duration = Duration::from_secs(30);

impl Http1 {
    /// Makes a connection over `io`, with the limits `bounds`.
    ///
    /// `keeper` is woken by events on the socket while the connection is idle, and `home` receives the connection when
    /// an exchange is over. The handshake of HTTP/1 sends nothing and does not wait.
    ///
    /// # Errors
    ///
    /// `Connect`, if hyper refuses the stream.
    pub(in crate::upstream) async fn handshake(
        io: Io,
        lease: Lease,
        keeper: Waker,
        home: Weak<dyn Home<Self>>,
        bounds: MessageBounds,
    ) -> Result<Self, Error> {
        let Lease {
            runtime,
            expires,
            permit,
            open,
        } = lease;
        let state = Arc::new(IoState::new(open));
        // The bound has room for a head after interim responses of the same size, or for trailers after what is read
        // ahead.
        let io = Http1Io::new(io, state.clone(), 2 * bounds.size + BUFFER, permit);
        let handshake = http1::Builder::new()
            // RFC 9112 5.1: "A proxy MUST remove any such whitespace from a response message before forwarding".
            .allow_spaces_after_header_name_in_responses(true)
            .max_headers(bounds.fields)
            // For the head, and separately for the trailers.
            .max_header_size(bounds.size)
            .max_buf_size(bounds.size.max(BUFFER))
            .handshake(TokioIo::new(io))
            .await;
        let (sender, driver) =
            handshake.map_err(|error| Error::new(ErrorKind::Connect).with(error))?;
        let waker = Arc::<ConnectionWaker>::default();
        let driver_waker = waker.clone().into();
        Ok(Self(Box::new(Ends {
            sender,
            driver: Some(driver),
            io: state,
            used: false,
            body_withheld: false,
            owner: None,
            runtime,
            expires,
            waker,
            driver_waker,
            keeper,
            home,
        })))
    }

    /// Returns whether an idle connection can take a request now.
    ///
    /// Nothing is polled if nothing has happened since [`is_reusable`](Self::is_reusable) returned `true`. Otherwise
    /// the driver is polled, and the connection is unusable if it has ended: the server closed it, or sent bytes that
    /// belong to no request. One that has expired is unusable, too, should the reaper be late. The reaper is no longer
    /// woken.
    pub(in crate::upstream) fn is_usable(&mut self) -> bool {
        let quiet = self.0.waker.hush();
        !self.has_expired()
            && (quiet || (self.poll_driver().is_pending() && self.0.sender.is_ready()))
    }

    /// Returns whether the connection has reached the end of its life.
    fn has_expired(&self) -> bool {
        let expires = self.0.expires;
        expires.is_some_and(|expires| expires <= Instant::now())
    }

    /// Returns whether a connection whose exchange is over can take another, and registers the reaper's waker if so.
    ///
    /// It cannot if it has expired; if it was spent by a failed write, an upgrade, an HTTP/1.0 response, or the
    /// authentication of an unknown client; or if hyper is not ready for a request: after `Connection: close`, after
    /// bytes that belong to no response, or while the request is not completely sent.
    ///
    /// Polls the driver, which has to notice the end of the exchange; afterwards the driver's wake-ups go to the
    /// reaper.
    pub(in crate::upstream) fn is_reusable(&mut self) -> bool {
        if self.0.io.is_spent() || self.has_expired() {
            return false;
        }
        self.0.waker.hush();
        let reusable = self.poll_driver().is_pending() && self.0.sender.is_ready();
        if reusable {
            self.0.waker.tell(&self.0.keeper);
        }
        reusable
    }

    /// Returns the runtime on which the connection was made, and on which alone it can be polled.
    pub(in crate::upstream) fn runtime(&self) -> runtime::Id {
        self.0.runtime
    }

    /// Returns when the connection takes no more requests, or `None` if never.
    pub(in crate::upstream) fn expires(&self) -> Option<Instant> {
        self.0.expires
    }

    /// Returns that the connection has reached the end of its life, as a reason to close it. `None` if it has not.
    pub(in crate::upstream) fn expiry(&self) -> Option<CloseCause> {
        self.has_expired().then_some(CloseCause::MaxLifetime)
    }

    /// Notes whether the connection waits for a request, for metrics.
    pub(in crate::upstream) fn set_idle(&self, idle: bool) {
        self.0.io.open().set_idle(idle);
    }

    /// Notes why the connection is about to be closed, for metrics.
    pub(in crate::upstream) fn closes(&self, cause: CloseCause) {
        self.0.io.open().closes(cause);
    }

    /// Returns whether the response is complete while the request is not.
    ///
    /// An endpoint that answers early may still be reading what is on its way, so closing at once could lose its
    /// response: a close with unread bytes resets the connection.
    pub(in crate::upstream) fn is_still_sending(&self) -> bool {
        let Ends { driver, sender, .. } = &*self.0;
        !self.0.body_withheld && driver.is_some() && !sender.is_ready() && !sender.is_closed()
    }

    /// Sends the rest of the request, in a task that ends when it is sent or [`LINGER`] later. The connection then
    /// closes.
    pub(in crate::upstream) fn send_rest(self) {
        let (_, done) = oneshot::channel();
        self.detach(done);
    }

    /// Polls hyper's connection with [`ConnectionWaker`]. Ready when the connection has ended, for whatever reason.
    ///
    /// The error is only logged: the exchange receives its own through the response future or body.
    fn poll_driver(&mut self) -> Poll<()> {
        let Ends {
            driver,
            driver_waker,
            ..
        } = &mut *self.0;
        if let Some(open) = driver {
            if let Err(error) = ready!(Pin::new(open).poll(&mut Context::from_waker(driver_waker)))
            {
                tracing::debug!(%error, "connection ended");
            }
            *driver = None;
        }
        Poll::Ready(())
    }

    /// Polls the driver, and then `fed`, the response future or body that receives from it.
    ///
    /// `fed` is polled with a waker that does nothing, because only the driver has something to feed it, and the driver
    /// is polled here. The task of `cx` is woken when the driver can make progress, at once if it already can.
    pub(super) fn drive<T>(
        &mut self,
        cx: &Context<'_>,
        fed: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.0.waker.hush();
        // If the connection ends here, what it received for `fed` has been delivered, as the driver is dropped before
        // `fed` is polled.
        let _ = self.poll_driver();
        let polled = fed(&mut Context::from_waker(Waker::noop()));
        if polled.is_pending() {
            self.0.waker.tell(cx.waker());
        }
        polled
    }

    /// Spawns a task for the rest of the connection's work. It ends with the connection, or [`LINGER`] after `done`.
    ///
    /// `done` resolves when its sender is dropped, with the response body. The sender of requests is dropped here, so
    /// hyper closes the connection after the exchange; it does not return to the pool. Does nothing if the connection
    /// has ended.
    pub(super) fn detach(mut self, done: oneshot::Receiver<()>) {
        let Some(driver) = self.0.driver.take() else {
            return;
        };
        // Without a sender, hyper closes the connection when the last message is complete.
        drop(self);
        tokio::spawn(async move {
            tokio::select! {
                _ = driver => {}
                () = linger(done) => {}
            }
        });
    }

    /// Hands a request to the connection, which writes it when it is next driven.
    ///
    /// The future resolves with the response head, or with an error. The error still contains the request if the
    /// connection ended before taking it: on a reused connection, also when the endpoint has sent anything, or closed,
    /// before the request was written. The future makes no progress by itself; poll it inside [`drive`](Self::drive).
    pub(super) fn try_send(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>> + use<> {
        if self.0.used {
            self.0.io.ask();
        }
        self.0.used = true;
        self.0.sender.try_send_request(request)
    }

    /// Returns whether this value still drives the connection: it has neither ended nor been given to a task.
    pub(super) fn is_open(&self) -> bool {
        self.0.driver.is_some()
    }

    /// Records that the request body will not be sent, so that the connection closes when the response is complete.
    pub(super) fn withhold_body(&mut self) {
        self.0.body_withheld = true;
    }

    /// Marks the connection as not reusable. The exchange in progress continues.
    pub(super) fn spend(&self) {
        self.0.io.spend();
    }

    /// Restricts the connection to the requests of one client connection, because it has been authenticated.
    ///
    /// With an unknown client (`None`) no later request can be known to be the same client's, so none is sent at all.
    pub(super) fn belongs_to(&mut self, owner: Option<ClientConnection>) {
        match owner {
            Some(_) => self.0.owner = owner,
            None => self.spend(),
        }
    }

    /// Returns the only client connection whose requests may be sent here, or `None` if the connection serves any
    /// client.
    pub(in crate::upstream) fn owner(&self) -> Option<ClientConnection> {
        self.0.owner
    }

    /// Returns what is shared with the stream.
    pub(super) fn io(&self) -> &Arc<IoState> {
        &self.0.io
    }

    /// Spawns a task for a connection that was asked to upgrade, and marks the connection as not reusable.
    ///
    /// hyper hands the stream over to the tunnel after a 101, and the task ends. After any other response it drives the
    /// connection to its end, or until [`LINGER`] after `done`.
    ///
    /// Unlike [`detach`](Self::detach) it is called before the response head has arrived; the caller drops the sender
    /// later.
    pub(super) fn detach_for_tunnel(&mut self, done: oneshot::Receiver<()>) {
        self.spend();
        let Some(driver) = self.0.driver.take() else {
            return;
        };
        tokio::spawn(async move {
            tokio::select! {
                _ = driver.with_upgrades() => {}
                () = linger(done) => {}
            }
        });
    }

    /// Returns the connection to its pool, or closes it if the pool is gone. Called when the exchange is over.
    pub(super) fn go_home(self) {
        if let Some(home) = self.0.home.upgrade() {
            home.take_back(self);
        }
    }
}

/// Resolves [`LINGER`] after the response is over.
async fn linger(done: oneshot::Receiver<()>) {
    // The sender is never used, only dropped: the error is the signal.
    drop(done.await);
    sleep(LINGER).await;
}
