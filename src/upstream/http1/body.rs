//! The body of a response over HTTP/1.

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

/// A response body that drives the connection it comes from, and puts it back into the pool when it has ended.
///
/// Dropped early it closes the connection.
pub(in crate::upstream) struct Http1Body {
    incoming: Incoming,
    driver: BodyDriver,
}

/// What polls the connection that a body comes from.
enum BodyDriver {
    /// The body itself.
    Body(Http1),
    /// A task.
    Task {
        io: Arc<IoState>,
        /// Tells the task that the response is over; the request may not be.
        _done: oneshot::Sender<()>,
    },
    /// Nothing any more: the message is complete, or the connection has ended.
    None,
}

impl Http1Body {
    /// A body whose connection has ended.
    pub(super) fn ended(incoming: Incoming) -> Self {
        let driver = BodyDriver::None;
        Self { incoming, driver }
    }

    pub(super) fn driving(incoming: Incoming, http1: Http1) -> Self {
        let driver = BodyDriver::Body(http1);
        Self { incoming, driver }
    }

    /// A body whose connection is driven by a task, which is told when the response is over.
    pub(super) fn driven_elsewhere(
        incoming: Incoming,
        io: Arc<IoState>,
        done: oneshot::Sender<()>,
    ) -> Self {
        let driver = BodyDriver::Task { io, _done: done };
        Self { incoming, driver }
    }

    /// The message is complete.
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
            // The first frame has often come with the head.
            BodyDriver::Body(http1) => match poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(frame) => frame,
                Poll::Pending => ready!(http1.drive(cx, poll)),
            },
            BodyDriver::Task { .. } | BodyDriver::None => ready!(poll(cx)),
        };
        match &frame {
            // Nothing comes after trailers, and hyper's server does not ask.
            Some(Ok(frame)) if !self.incoming.is_end_stream() && !frame.is_trailers() => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                match &self.driver {
                    BodyDriver::Body(http1) => http1.io().passed_frame(len),
                    BodyDriver::Task { io, .. } => io.passed_frame(len),
                    BodyDriver::None => {}
                }
            }
            Some(Ok(_)) | None => self.finish(),
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
