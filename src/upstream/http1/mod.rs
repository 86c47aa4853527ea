//! One HTTP/1 connection, driven by the task of the request that uses it.
//!
//! hyper splits a connection into a `SendRequest` and a `Connection` that somebody has to poll. Whoever holds the pair
//! polls both: the response future first, then the response body. There is no spawned task, so no channel wake-up and
//! no second thread. Two exchanges cannot go that way and get a task for the rest of the connection's life: an upgrade,
//! and a response that starts before the request body has been sent, where both bodies would wait for one another.

mod body;
mod watch;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Acquire},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use http::{HeaderValue, Request, Response, Version, header};
use http_body::Body as _;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use tokio::{
    runtime,
    sync::oneshot,
    time::{Instant, sleep},
};

pub(super) use self::body::Http1Body;
use self::watch::Watch;
use super::{
    bounds::MessageBounds,
    connect::Io,
    pool::{Lease, Pool},
    stream::{Health, Stream},
};
use crate::{
    body::Body,
    error::{Error, Kind},
    rewrite::{Fields, Seen},
};

/// A connection and its sender, both idle or both in use.
///
/// Boxed for as long as the connection lives, because hyper's part is some 1.8 KB, and moves with the request's future
/// and its body.
pub(super) struct Http1(Box<Ends>);

struct Ends {
    sender: http1::SendRequest<Body>,
    /// Gone once it has completed. It has to be dropped then: a request that it never took waits in it, and comes back
    /// to its sender with the drop.
    driver: Option<Driver>,
    health: Arc<Health>,
    runtime: runtime::Id,
    expires: Option<Instant>,
    watch: Arc<Watch>,
    /// The watch, as what the driver is polled with.
    waker: Waker,
    /// Told of what happens to the connection while it idles.
    keeper: Waker,
}

type Driver = http1::Connection<Stream, Body>;

/// The most that is read ahead of a response's reader, or held of a request until the socket takes it.
const BUFFER: usize = 256 * 1024;

/// How long an upload may go on after its response has ended, as nginx's `lingering_time`.
const LINGER: Duration = Duration::from_secs(30);

impl Http1 {
    pub(super) async fn handshake(
        io: Io,
        lease: Lease,
        keeper: Waker,
        bounds: MessageBounds,
    ) -> Result<Self, Error> {
        let Lease {
            runtime,
            expires,
            permit,
        } = lease;
        let health = Arc::<Health>::default();
        let handshake = http1::Builder::new()
            // RFC 9112 5.1: "A proxy MUST remove any such whitespace from a response message before forwarding".
            .allow_spaces_after_header_name_in_responses(true)
            .max_headers(bounds.fields)
            // Of the head, and of the trailers.
            .max_header_size(bounds.size)
            .max_buf_size(bounds.size.max(BUFFER))
            .handshake(Stream::new(io, health.clone(), permit))
            .await;
        let (sender, driver) =
            handshake.map_err(|error| Error::new(Kind::Unreachable).with(error))?;
        let watch = Arc::<Watch>::default();
        let waker = watch.clone().into();
        let driver = Some(driver);
        Ok(Self(Box::new(Ends {
            sender,
            driver,
            health,
            runtime,
            expires,
            watch,
            waker,
            keeper,
        })))
    }

    /// Whether an idle connection can take a request: looks for a close, or for bytes that nobody asked for, if
    /// something has stirred since it was found reusable.
    pub(super) fn is_usable(&mut self) -> bool {
        self.0.watch.hush() || (self.poll_driver().is_pending() && self.0.sender.is_ready())
    }

    /// Whether a connection whose exchange is over can take another. From here on its keeper is woken when the server
    /// closes it.
    pub(super) fn is_reusable(&mut self) -> bool {
        if self.0.health.is_spent()
            || self
                .0
                .expires
                .is_some_and(|expires| expires <= Instant::now())
        {
            return false;
        }
        self.0.watch.hush();
        let reusable = self.poll_driver().is_pending() && self.0.sender.is_ready();
        if reusable {
            self.0.watch.tell(&self.0.keeper);
        }
        reusable
    }

    pub(super) fn runtime(&self) -> runtime::Id {
        self.0.runtime
    }

    pub(super) fn expires(&self) -> Option<Instant> {
        self.0.expires
    }

    /// The response is complete but the request is not: an endpoint that answered early may still be reading what is
    /// on its way.
    pub(super) fn is_still_sending(&self) -> bool {
        self.0.driver.is_some() && !self.0.sender.is_ready() && !self.0.sender.is_closed()
    }

    /// Sends the rest, in a task that ends with it or a while later.
    pub(super) fn send_rest(self) {
        let (_, done) = oneshot::channel();
        self.detach(done);
    }

    /// Ready when the connection has ended.
    fn poll_driver(&mut self) -> Poll<()> {
        let Ends { driver, waker, .. } = &mut *self.0;
        if let Some(open) = driver {
            if let Err(error) = ready!(Pin::new(open).poll(&mut Context::from_waker(waker))) {
                tracing::debug!(%error, "connection ended");
            }
            *driver = None;
        }
        Poll::Ready(())
    }

    /// Polls the driver, and then what it feeds, which need not wake anybody for it. Whoever polls this is told
    /// when there is more.
    fn drive<T>(
        &mut self,
        cx: &Context<'_>,
        fed: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.0.watch.hush();
        // What a connection that ends has received is with those it feeds when it has been dropped.
        let _ = self.poll_driver();
        let polled = fed(&mut Context::from_waker(Waker::noop()));
        if polled.is_pending() {
            self.0.watch.tell(cx.waker());
        }
        polled
    }

    /// Gives what is left of a connection's work to a task: it ends with the connection, or a while after `done`.
    fn detach(mut self, done: oneshot::Receiver<()>) {
        let Some(driver) = self.0.driver.take() else {
            return;
        };
        // Without a sender the connection closes when its last message is complete.
        drop(self);
        tokio::spawn(async move {
            tokio::select! {
                _ = driver => {}
                () = async {
                    drop(done.await);
                    sleep(LINGER).await;
                } => {}
            }
        });
    }

    /// Sends a request in origin form and waits for the response head. `seen` is what is in the request's.
    ///
    /// Dropping the future closes the connection. An error that still has the request in it was not sent.
    pub(super) fn send(
        mut self,
        mut request: Request<Body>,
        seen: Seen,
        pool: &Arc<Pool>,
    ) -> impl Future<Output = Result<Response<Http1Body>, TrySendError<Request<Body>>>> {
        frame(&mut request, seen);
        let sent = (!request.body().is_end_stream()).then(|| request.body_mut().track());
        // At once, so that the future has no room for a request.
        let response = self.0.sender.try_send_request(request);
        self.answer(response, sent, seen.any(Fields::UPGRADE), pool)
    }

    async fn answer(
        mut self,
        response: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>>,
        sent: Option<Arc<AtomicBool>>,
        upgrade: bool,
        pool: &Arc<Pool>,
    ) -> Result<Response<Http1Body>, TrySendError<Request<Body>>> {
        let mut response = pin!(response);
        if upgrade {
            self.0.health.expect_tunnel();
            if let Some(driver) = self.0.driver.take() {
                // Ends with the exchange, or hands its stream over to the tunnel.
                tokio::spawn(driver.with_upgrades());
            }
            return Ok(response.await?.map(Http1Body::alone));
        }

        let response = poll_fn(|cx| self.drive(cx, |fed| response.as_mut().poll(fed))).await?;
        if response.version() < Version::HTTP_11 {
            // hyper would send the next request as HTTP/1.0 too, which has no way to say that a body is chunked.
            self.0.health.spend();
        }

        let body = |incoming| match self.0.driver {
            None => Http1Body::alone(incoming),
            Some(_) if is_sent(sent.as_deref()) => Http1Body::driving(incoming, self, pool.clone()),
            // Both bodies flow: neither must wait for the other to be polled.
            Some(_) => {
                let (done, is_done) = oneshot::channel();
                self.detach(is_done);
                Http1Body::driven(incoming, done)
            }
        };
        let mut response = response.map(body);
        if response.body().is_end_stream() {
            response.body_mut().finish();
        }
        Ok(response)
    }
}

fn is_sent(flag: Option<&AtomicBool>) -> bool {
    flag.is_none_or(|flag| flag.load(Acquire))
}

/// Puts on a head what belongs to this connection: its framing, and the options of `Connection`.
fn frame(request: &mut Request<Body>, seen: Seen) {
    let body = request.body();
    // hyper drops a GET, HEAD or CONNECT body of unknown length unless the head says that it is chunked.
    let unknown = !body.is_end_stream() && body.size_hint().exact().is_none();
    let headers = request.headers_mut();
    if unknown {
        headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    // RFC 9110 7.8 and 10.1.4: a sender of Upgrade or TE has to name it in Connection.
    let options = match (seen.any(Fields::UPGRADE), seen.any(Fields::TE)) {
        (false, false) => return,
        (true, false) => "upgrade",
        (false, true) => "te",
        (true, true) => "upgrade, te",
    };
    headers.insert(header::CONNECTION, HeaderValue::from_static(options));
}
