//! One connection and its sender.

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
    upstream::{
        bounds::MessageBounds,
        connect::Io,
        lease::{Home, Lease},
    },
};

/// A connection and its sender, both idle or both in use.
///
/// Boxed for as long as the connection lives, because hyper's part is some 1.8 KB, and moves with the request's future
/// and its body.
pub(in crate::upstream) struct Http1(Box<Ends>);

struct Ends {
    sender: http1::SendRequest<Body>,
    /// Gone once it has completed. It has to be dropped then: a request that it never took waits in it, and comes back
    /// to its sender with the drop.
    driver: Option<Driver>,
    io: Arc<IoState>,
    /// A request has been sent here.
    used: bool,
    /// The request body is not sent, because the response came before it was wanted.
    body_withheld: bool,
    /// The client's connection whose requests alone may be sent here.
    owner: Option<ClientConnection>,
    runtime: runtime::Id,
    expires: Option<Instant>,
    /// What the driver is polled with.
    waker: Arc<ConnectionWaker>,
    /// The same, as a `Waker`.
    driver_waker: Waker,
    /// Woken by what happens to the connection while it idles.
    keeper: Waker,
    /// Where it idles.
    home: Weak<dyn Home<Http1>>,
}

type Driver = http1::Connection<TokioIo<Http1Io>, Body>;

/// The most that is read ahead of a response's reader, or held of a request until the socket takes it.
const BUFFER: usize = 256 * 1024;

/// How long an upload may go on after its response has ended, as nginx's `lingering_time`.
const LINGER: Duration = Duration::from_secs(30);

impl Http1 {
    /// Makes a connection over `io`. While it idles it wakes `keeper`; its exchange over, it goes back to `home`.
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
        } = lease;
        let state = Arc::<IoState>::default();
        // A head, and interim ones of the same size before it; or trailers after what is read ahead.
        let io = Http1Io::new(io, state.clone(), 2 * bounds.size + BUFFER, permit);
        let handshake = http1::Builder::new()
            // RFC 9112 5.1: "A proxy MUST remove any such whitespace from a response message before forwarding".
            .allow_spaces_after_header_name_in_responses(true)
            .max_headers(bounds.fields)
            // Of the head, and of the trailers.
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

    /// Whether an idle connection can take a request: looks for a close, or for bytes that nobody asked for, if
    /// something has stirred since it was found reusable.
    pub(in crate::upstream) fn is_usable(&mut self) -> bool {
        self.0.waker.hush() || (self.poll_driver().is_pending() && self.0.sender.is_ready())
    }

    /// Whether a connection whose exchange is over can take another. From here on its keeper is woken when the server
    /// closes it.
    pub(in crate::upstream) fn is_reusable(&mut self) -> bool {
        if self.0.io.is_spent()
            || self
                .0
                .expires
                .is_some_and(|expires| expires <= Instant::now())
        {
            return false;
        }
        self.0.waker.hush();
        let reusable = self.poll_driver().is_pending() && self.0.sender.is_ready();
        if reusable {
            self.0.waker.tell(&self.0.keeper);
        }
        reusable
    }

    pub(in crate::upstream) fn runtime(&self) -> runtime::Id {
        self.0.runtime
    }

    pub(in crate::upstream) fn expires(&self) -> Option<Instant> {
        self.0.expires
    }

    /// The response is complete but the request is not: an endpoint that answered early may still be reading what is
    /// on its way.
    pub(in crate::upstream) fn is_still_sending(&self) -> bool {
        let Ends { driver, sender, .. } = &*self.0;
        !self.0.body_withheld && driver.is_some() && !sender.is_ready() && !sender.is_closed()
    }

    /// Sends the rest, in a task that ends with it or a while later.
    pub(in crate::upstream) fn send_rest(self) {
        let (_, done) = oneshot::channel();
        self.detach(done);
    }

    /// Ready when the connection has ended.
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

    /// Polls the driver, and then what it feeds, which need not wake anybody for it. Whoever polls this is told
    /// when there is more.
    pub(super) fn drive<T>(
        &mut self,
        cx: &Context<'_>,
        fed: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.0.waker.hush();
        // What a connection that ends has received is with those it feeds when it has been dropped.
        let _ = self.poll_driver();
        let polled = fed(&mut Context::from_waker(Waker::noop()));
        if polled.is_pending() {
            self.0.waker.tell(cx.waker());
        }
        polled
    }

    /// Gives what is left of a connection's work to a task: it ends with the connection, or a while after `done`.
    pub(super) fn detach(mut self, done: oneshot::Receiver<()>) {
        let Some(driver) = self.0.driver.take() else {
            return;
        };
        // Without a sender the connection closes when its last message is complete.
        drop(self);
        tokio::spawn(async move {
            tokio::select! {
                _ = driver => {}
                () = linger(done) => {}
            }
        });
    }

    /// Hands a request to the connection, which writes it when it is next driven; or gives it back, if the endpoint has
    /// sent anything by then.
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

    /// Whether the connection is driven from here and has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.0.driver.is_some()
    }

    /// Notes that the request body is not sent: the connection closes when the response is complete.
    pub(super) fn withhold_body(&mut self) {
        self.0.body_withheld = true;
    }

    /// Takes no request after this one.
    pub(super) fn spend(&self) {
        self.0.io.spend();
    }

    /// Leaves the connection to one client's connection, because it has been authenticated. It takes no other request
    /// if it is not known whose it is.
    pub(super) fn belongs_to(&mut self, owner: Option<ClientConnection>) {
        match owner {
            Some(_) => self.0.owner = owner,
            None => self.spend(),
        }
    }

    /// The client's connection whose requests alone may be sent here, if there is one.
    pub(in crate::upstream) fn owner(&self) -> Option<ClientConnection> {
        self.0.owner
    }

    /// What the stream is told.
    pub(super) fn io(&self) -> &Arc<IoState> {
        &self.0.io
    }

    /// Gives the connection to a task that ends with it, or a while after `done`, or hands its stream over to a tunnel.
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

    /// Its exchange is over: it goes back to where it idles, or closes if that is gone.
    pub(super) fn go_home(self) {
        if let Some(home) = self.0.home.upgrade() {
            home.take_back(self);
        }
    }
}

/// Ready a while after the response is over.
async fn linger(done: oneshot::Receiver<()>) {
    // An error is what tells: the sender is dropped.
    drop(done.await);
    sleep(LINGER).await;
}
