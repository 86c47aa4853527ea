//! One HTTP/1 connection, driven by the task of the request that uses it.
//!
//! hyper splits a connection into a `SendRequest` and a `Connection` that somebody has to poll. Whoever holds the pair
//! polls both: the response future first, then the response body. There is no spawned task, so no channel wake-up and
//! no second thread. Two exchanges cannot go that way and get a task for the rest of the connection's life: an upgrade,
//! and a response that starts before the request body has been sent, where both bodies would wait for one another.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Acquire},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use tokio::{runtime, time::Instant};

use super::{
    connect::Io,
    pool::{Lease, Pool},
    stream::Stream,
};
use crate::{
    body::Body,
    error::{Error, Kind},
};

/// A connection and its sender, both idle or both in use.
///
/// Boxed for as long as the connection lives, because hyper's part is some 1.8 KB, and moves with the request's future
/// and its body.
pub(super) struct Http1(Box<Ends>);

struct Ends {
    sender: http1::SendRequest<Body>,
    driver: http1::Connection<Stream, Body>,
    lease: Lease,
    /// Watches the connection while it idles.
    keeper: Waker,
}

impl Http1 {
    pub(super) async fn handshake(io: Io, lease: Lease, keeper: Waker) -> Result<Self, Error> {
        let handshake = http1::Builder::new()
            // RFC 9112 5.1: "A proxy MUST remove any such whitespace from a response message before forwarding".
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(Stream::new(io))
            .await;
        let (sender, driver) = handshake.map_err(|error| Error::new(Kind::Unreachable).with(error))?;
        Ok(Self(Box::new(Ends { sender, driver, lease, keeper })))
    }

    /// Whether an idle connection can take a request: looks for a close, or for bytes that nobody asked for.
    pub(super) async fn is_usable(&mut self) -> bool {
        let open = poll_fn(|cx| Poll::Ready(self.poll_driver(cx).is_pending())).await;
        open && self.0.sender.is_ready()
    }

    /// Whether a connection whose exchange is over can take another. From here on its keeper is woken when the server
    /// closes it.
    pub(super) fn is_reusable(&mut self) -> bool {
        if self.0.lease.expires.is_some_and(|expires| expires <= Instant::now()) {
            return false;
        }
        let Ends { sender, driver, keeper, .. } = &mut *self.0;
        Pin::new(driver).poll(&mut Context::from_waker(keeper)).is_pending() && sender.is_ready()
    }

    pub(super) fn runtime(&self) -> runtime::Id {
        self.0.lease.runtime
    }

    pub(super) fn expires(&self) -> Option<Instant> {
        self.0.lease.expires
    }

    /// Ready when the connection has ended; it must not be polled again then.
    fn poll_driver(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Pin::new(&mut self.0.driver).poll(cx)
    }

    /// Sends a request in origin form and waits for the response head.
    ///
    /// Dropping the future closes the connection. An error that still has the request in it was not sent.
    pub(super) async fn send(
        mut self,
        mut request: Request<Body>,
        pool: &Arc<Pool>,
    ) -> Result<Response<Http1Body>, TrySendError<Request<Body>>> {
        frame(&mut request);
        let upgrade = request.headers().contains_key(header::UPGRADE);
        let sent = (!request.body().is_end_stream()).then(|| request.body_mut().track());
        let mut response = pin!(self.0.sender.try_send_request(request));
        if upgrade {
            // Ends with the exchange, or hands its stream over to the tunnel.
            let Ends { driver, lease, .. } = *self.0;
            tokio::spawn(async move {
                let _lease = lease;
                driver.with_upgrades().await
            });
            return Ok(response.await?.map(|incoming| Http1Body { incoming, held: None }));
        }

        let mut open = true;
        let response = poll_fn(|cx| {
            // What a connection that has ended received before is in the response future by then.
            open = open && self.poll_driver(cx).is_pending();
            response.as_mut().poll(cx)
        })
        .await?;

        let held = if !open {
            None
        } else if is_sent(sent.as_deref()) {
            Some(Held { http1: self, pool: pool.clone() })
        } else {
            // Both bodies flow: neither must wait for the other to be polled. Ends when either breaks off, or the
            // response body is dropped.
            let Ends { driver, lease, .. } = *self.0;
            tokio::spawn(async move {
                let _lease = lease;
                driver.await
            });
            None
        };
        let mut response = response.map(|incoming| Http1Body { incoming, held });
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
fn frame(request: &mut Request<Body>) {
    let body = request.body();
    // hyper drops a GET, HEAD or CONNECT body of unknown length unless the head says that it is chunked.
    let unknown = !body.is_end_stream() && body.size_hint().exact().is_none();
    let headers = request.headers_mut();
    if unknown && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    // RFC 9110 7.8 and 10.1.4: a sender of Upgrade or TE has to name it in Connection.
    let options = match (headers.contains_key(header::UPGRADE), headers.contains_key(header::TE)) {
        (false, false) => return,
        (true, false) => "upgrade",
        (false, true) => "te",
        (true, true) => "upgrade, te",
    };
    headers.insert(header::CONNECTION, HeaderValue::from_static(options));
}

/// A response body that drives the connection it comes from, and puts it back into the pool when it has ended.
///
/// Dropped early it closes the connection.
pub(super) struct Http1Body {
    incoming: Incoming,
    held: Option<Held>,
}

struct Held {
    http1: Http1,
    pool: Arc<Pool>,
}

impl Http1Body {
    /// The message is complete.
    fn finish(&mut self) {
        if let Some(Held { http1, pool }) = self.held.take() {
            pool.put(http1);
        }
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            Some(Ok(_)) if !self.incoming.is_end_stream() => {}
            Some(Ok(_)) | None => self.finish(),
            Some(Err(_)) => self.held = None,
        }
        Poll::Ready(frame)
    }
}

impl http_body::Body for Http1Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // First the body, which tells the driver that a frame is wanted; then the driver, which may read one.
        if let Poll::Ready(frame) = self.poll_incoming(cx) {
            return Poll::Ready(frame);
        }
        let Some(held) = &mut self.held else {
            return Poll::Pending;
        };
        if held.http1.poll_driver(cx).is_ready() {
            self.held = None;
        }
        self.poll_incoming(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for Http1Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1Body").field("incoming", &self.incoming).finish_non_exhaustive()
    }
}
