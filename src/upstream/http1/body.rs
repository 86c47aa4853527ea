//! The response body of an HTTP/1 exchange, which drives the connection that it is received from.
//!
//! What reads the connection is decided when the head has arrived (`exchange.rs`), and is one of [`BodySource`]:
//!
//! - *Connection*: this body. Polling it reads from the socket, so a reader that pauses applies backpressure to the
//!   endpoint once the buffers are full, without any flow control of ours.
//! - *Task*: a spawned task (`duplex.rs`), through a channel with room for one frame, which applies the backpressure.
//! - *Ended*: nothing. The body is complete, or has failed.
//!
//! On the last frame the body becomes *Ended* and the connection returns to the pool, without waiting for the poll that
//! returns `None`: hyper's server does not make it once `is_end_stream` is `true`.
//!
//! Idle and total timeouts are not enforced here but around this body.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    connection::Http1,
    duplex::{Frames, spawn},
    error::Http1Error,
};
use crate::body::Body;

/// A response body that drives the connection it comes from, and returns it to the pool when it has ended.
///
/// # Cancel safety
///
/// Dropped before its end, it closes the connection: the rest of the message would otherwise have to be read first, and
/// may be endless.
pub(in crate::upstream) struct Http1Body(BodySource);

/// What a body is received from. The [module docs](self) explain the states.
enum BodySource {
    /// The connection, which the body owns.
    Connection(Http1),
    /// A task, which owns it.
    Task(Frames),
    /// Nothing any more.
    Ended,
}

impl Http1Body {
    /// Returns a body that drives `http1`, and returns it to the pool at its end.
    pub(super) fn driving(http1: Http1) -> Self {
        let has_ended = http1.wire().decoder().has_ended();
        let mut body = Self(BodySource::Connection(http1));
        if has_ended {
            body.finish();
        }
        body
    }

    /// Returns a body that is received by a task, which sends the rest of the request meanwhile.
    pub(super) fn driven_by_task(http1: Http1, request: Body) -> Self {
        Self(BodySource::Task(spawn(http1, request)))
    }

    /// Returns a body that has ended.
    pub(super) fn ended() -> Self {
        Self(BodySource::Ended)
    }

    /// Returns the connection to the pool, because the response is complete. The pool decides whether it can be reused.
    fn finish(&mut self) {
        if let BodySource::Connection(http1) = mem::replace(&mut self.0, BodySource::Ended) {
            http1.go_home();
        }
    }
}

impl http_body::Body for Http1Body {
    type Data = Bytes;
    type Error = Http1Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        let (frame, has_ended) = match &mut self.0 {
            BodySource::Connection(http1) => {
                let frame = ready!(http1.wire_mut().poll_frame(cx));
                (frame, http1.wire().decoder().has_ended())
            }
            BodySource::Task(frames) => return frames.poll_frame(cx),
            BodySource::Ended => return Poll::Ready(None),
        };
        match &frame {
            // Drops the connection, which is broken.
            Some(Err(_)) => self.0 = BodySource::Ended,
            _ if has_ended => self.finish(),
            _ => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            BodySource::Connection(http1) => http1.wire().decoder().has_ended(),
            BodySource::Task(frames) => frames.size_hint().exact() == Some(0),
            BodySource::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodySource::Connection(http1) => http1.wire().decoder().size_hint(),
            BodySource::Task(frames) => frames.size_hint(),
            BodySource::Ended => SizeHint::with_exact(0),
        }
    }
}

impl fmt::Debug for Http1Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1Body").finish_non_exhaustive()
    }
}
