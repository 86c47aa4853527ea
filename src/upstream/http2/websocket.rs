//! A WebSocket over HTTP/2 to an endpoint that offers it (RFC 8441).
//!
//! A request for a WebSocket arrives here as it is sent over HTTP/1.1, and its response leaves as a 101. In between,
//! they are an extended CONNECT and its 200:
//!
//! | | HTTP/1.1 | HTTP/2 |
//! |---|---|---|
//! | method | GET | CONNECT |
//! | protocol | `Upgrade`, removed by `target.rs` | `:protocol` |
//! | proof that the server speaks it | `Sec-WebSocket-Key` and `-Accept` | SETTINGS_ENABLE_CONNECT_PROTOCOL |
//! | agreement | 101 | 200 |
//! | tunnel | the connection | the stream |
//!
//! The tunnel holds its place on the connection until it is dropped, so that the connection is neither idle nor closed
//! under it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{
    body::Incoming,
    ext::Protocol,
    upgrade::{OnUpgrade, Upgraded as HyperUpgraded},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::body::Held;
use crate::{
    body::Body,
    error::BoxError,
    tunnel::{Upgraded, WEBSOCKET, WebSocketKey, offer},
};

/// What is kept of a request for a WebSocket while it is sent by extended CONNECT.
pub(in crate::upstream) struct WebSocketRequest {
    /// The key that the response has to accept.
    key: WebSocketKey,
}

impl WebSocketRequest {
    /// Returns the request for a WebSocket that a request is, or `None` if it is another one, which can only be sent as
    /// it is.
    ///
    /// RFC 6455 4.1: the handshake is a GET. One with a body has no form over HTTP/2, where DATA belongs to the tunnel.
    pub(in crate::upstream) fn of(request: &Request<Body>) -> Option<Self> {
        let mut protocols = request.headers().get_all(header::UPGRADE).iter();
        let asks = protocols.next().is_some_and(|protocol| {
            protocol
                .as_bytes()
                .eq_ignore_ascii_case(WEBSOCKET.as_bytes())
        });
        let has_form = asks
            && protocols.next().is_none()
            && *request.method() == Method::GET
            && http_body::Body::is_end_stream(request.body());
        let key = WebSocketKey::of(request.headers()).filter(|_| has_form)?;
        Some(Self { key })
    }

    /// Makes an extended CONNECT of a request in absolute form.
    ///
    /// RFC 8441 5: "The Sec-WebSocket-Key and Sec-WebSocket-Accept header fields are not used."
    pub(in crate::upstream) fn apply(&self, request: &mut Request<Body>) {
        *request.method_mut() = Method::CONNECT;
        request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
        let protocol = Protocol::from_static(WEBSOCKET);
        request.extensions_mut().insert(protocol);
    }

    /// Undoes [`apply`](Self::apply), for a request that was not sent.
    pub(in crate::upstream) fn restore(&self, request: &mut Request<Body>) {
        *request.method_mut() = Method::GET;
        self.key.put(request.headers_mut());
        request.extensions_mut().remove::<Protocol>();
    }

    /// Makes a 101 of a response that agrees. Any other response is none of a tunnel, and stays as it is.
    pub(in crate::upstream) fn answered<B>(&self, response: &mut Response<B>) {
        if response.status() != StatusCode::OK {
            return;
        }
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.key.accept());
    }
}

/// Offers the stream of a response to CONNECT for a tunnel, which holds `held` from now on. Returns it if the response
/// opens none.
///
/// # Errors
///
/// hyper does not hand the stream over.
pub(super) async fn hand_over(
    response: &mut Response<Incoming>,
    held: Held,
) -> Result<Option<Held>, BoxError> {
    let Some(stream) = response.extensions_mut().remove::<OnUpgrade>() else {
        return Ok(Some(held));
    };
    // Ready: hyper has put it there when the response arrived.
    let io = ConnectStream {
        io: TokioIo::new(stream.await?),
        held,
        read_ended: false,
        write_ended: false,
    };
    let (sender, upgrade) = oneshot::channel();
    drop(sender.send(Upgraded::new(io, Bytes::new(), ())));
    offer(response, upgrade);
    Ok(None)
}

/// The stream of a tunnel, with what its exchange holds of the connection.
///
/// Dropped before both sides have ended, it resets the stream, which is counted.
struct ConnectStream {
    io: TokioIo<HyperUpgraded>,
    held: Held,
    /// Whether the endpoint has ended its side.
    read_ended: bool,
    /// Whether ours has been ended.
    write_ended: bool,
}

impl ConnectStream {
    /// Records that there is nothing to reset once both sides have ended.
    fn settle(&mut self) {
        if self.read_ended && self.write_ended {
            self.held.complete();
        }
    }

    /// Passes on what came of an operation. A stream that has failed was reset by the endpoint, or its connection is
    /// gone: there is nothing to reset from here.
    fn noted<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = polled {
            self.held.complete();
        }
        polled
    }
}

impl AsyncRead for ConnectStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        ready!(self.noted(polled))?;
        if buf.filled().len() == before && buf.remaining() > 0 {
            self.read_ended = true;
            self.settle();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ConnectStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.noted(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.noted(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        ready!(self.noted(polled))?;
        self.write_ended = true;
        self.settle();
        Poll::Ready(Ok(()))
    }
}
