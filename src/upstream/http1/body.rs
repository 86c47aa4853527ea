//! The body of a response over HTTP/1.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::connection::Http1;

/// A response body that drives the connection it comes from, and puts it back into the pool when it has ended.
///
/// Dropped early it closes the connection.
pub(in crate::upstream) struct Http1Body {
    incoming: Incoming,
    /// The connection, while it is driven from here.
    driven: Option<Http1>,
    /// Tells a task that still sends the request that the response is over.
    _done: Option<oneshot::Sender<()>>,
}

impl Http1Body {
    /// A body whose connection is driven by something else, or has ended.
    pub(super) fn driven_elsewhere(incoming: Incoming) -> Self {
        Self {
            incoming,
            driven: None,
            _done: None,
        }
    }

    pub(super) fn driving(incoming: Incoming, http1: Http1) -> Self {
        Self {
            incoming,
            driven: Some(http1),
            _done: None,
        }
    }

    /// A body whose connection is driven by a task that has to know when the response is over.
    pub(super) fn driven_until(incoming: Incoming, done: oneshot::Sender<()>) -> Self {
        Self {
            incoming,
            driven: None,
            _done: Some(done),
        }
    }

    /// The message is complete.
    pub(super) fn finish(&mut self) {
        if let Some(http1) = self.driven.take() {
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
        let Self {
            incoming, driven, ..
        } = &mut *self;
        let mut poll = |cx: &mut Context<'_>| Pin::new(&mut *incoming).poll_frame(cx);
        let frame = match driven {
            // The first frame has often come with the head.
            Some(http1) => match poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(frame) => frame,
                Poll::Pending => ready!(http1.drive(cx, poll)),
            },
            None => ready!(poll(cx)),
        };
        match &frame {
            // Nothing comes after trailers, and hyper's server does not ask.
            Some(Ok(frame)) if !self.incoming.is_end_stream() && !frame.is_trailers() => {}
            Some(Ok(_)) | None => self.finish(),
            Some(Err(_)) => self.driven = None,
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
