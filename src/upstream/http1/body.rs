//! The response body of an HTTP/1 exchange, which drives the connection that it is received from.
//!
//! What polls the connection is decided when the head has arrived (`send.rs`), and is one of [`BodyDriver`]:
//!
//! - *Body*: this body. Polling it reads from the socket, so a reader that pauses applies backpressure to the endpoint
//!   once the buffers are full, without any flow control of ours.
//! - *Task*: a spawned task. hyper's channel to it holds one frame, which applies the backpressure.
//! - *None*: the message is complete, or the connection has ended. Frames already received can still be read.
//!
//! On the last frame the body becomes *None* and the connection returns to the pool, without waiting for the poll that
//! returns `None`: hyper's server does not make it once `is_end_stream` is `true`.
//!
//! Each frame that is passed on is credited to the stream's account of unpassed bytes (`io.rs`). Idle and total
//! timeouts are not enforced here but around this body.

use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::{connection::Http1, io_state::IoState};

/// A response body that drives the connection it comes from, and returns it to the pool when it has ended.
///
/// # Cancel safety
///
/// Dropped before its end, it closes the connection: the rest of the message would otherwise have to be read first, and
/// may be endless. Where a task drives the connection, that task ends within 30 s.
pub(in crate::upstream) struct Http1Body {
    /// hyper's body, which receives the frames from the driver.
    incoming: Incoming,
    /// What polls the connection; `None` once it is no longer needed.
    driver: BodyDriver,
}

/// What polls the connection that a body comes from. The [module docs](self) explain the states.
enum BodyDriver {
    /// The body itself, which owns the connection.
    Body(Http1),
    /// A task.
    Task {
        /// The stream's state, for the account of unpassed bytes.
        io: Arc<IoState>,
        /// Dropped when the response is over, which starts the task's linger timer: the request may still be in
        /// progress.
        _done: oneshot::Sender<()>,
    },
    /// Nothing any more: the message is complete, or the connection has ended.
    None,
}

impl Http1Body {
    /// Returns a body whose connection has ended. What was received before the end can still be read.
    pub(super) fn ended(incoming: Incoming) -> Self {
        let driver = BodyDriver::None;
        Self { incoming, driver }
    }

    /// Returns a body that drives `http1`, and returns it to the pool at its end.
    pub(super) fn driving(incoming: Incoming, http1: Http1) -> Self {
        let driver = BodyDriver::Body(http1);
        Self { incoming, driver }
    }

    /// Returns a body whose connection is driven by a task; dropping `done` tells the task that the response is over.
    pub(super) fn driven_elsewhere(
        incoming: Incoming,
        io: Arc<IoState>,
        done: oneshot::Sender<()>,
    ) -> Self {
        let driver = BodyDriver::Task { io, _done: done };
        Self { incoming, driver }
    }

    /// Returns the connection to the pool, because the response is complete. The pool decides whether it can be reused.
    pub(super) fn finish(&mut self) {
        if let BodyDriver::Body(http1) = mem::replace(&mut self.driver, BodyDriver::None) {
            http1.go_home();
        }
    }
}

impl http_body::Body for Http1Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { incoming, driver } = &mut *self;
        let mut poll = |cx: &mut Context<'_>| Pin::new(&mut *incoming).poll_frame(cx);
        let frame = match driver {
            // The first frame has often arrived together with the head, so look before driving the connection for more.
            // No waker is needed: `drive` registers one if nothing has arrived.
            BodyDriver::Body(http1) => match poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(frame) => frame,
                Poll::Pending => ready!(http1.drive(cx, poll)),
            },
            BodyDriver::Task { .. } | BodyDriver::None => ready!(poll(cx)),
        };
        match &frame {
            // More is to come. Trailers are the last frame whatever `is_end_stream` returns, and hyper's server does
            // not poll after them.
            Some(Ok(frame)) if !self.incoming.is_end_stream() && !frame.is_trailers() => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                match &self.driver {
                    BodyDriver::Body(http1) => http1.io().passed_frame(len),
                    BodyDriver::Task { io, .. } => io.passed_frame(len),
                    BodyDriver::None => {}
                }
            }
            Some(Ok(_)) | None => self.finish(),
            // Drops the connection, which is broken.
            Some(Err(_)) => self.driver = BodyDriver::None,
        }
        Poll::Ready(frame)
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
        f.debug_struct("Http1Body")
            .field("incoming", &self.incoming)
            .finish_non_exhaustive()
    }
}
