//! The body of a response over HTTP/1.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::Http1;
use crate::upstream::pool::Pool;

/// A response body that drives the connection it comes from, and puts it back into the pool when it has ended.
///
/// Dropped early it closes the connection.
pub(in crate::upstream) struct Http1Body {
    incoming: Incoming,
    held: Option<Held>,
    /// Tells a task that still sends the request that the response is over.
    _done: Option<oneshot::Sender<()>>,
}

struct Held {
    http1: Http1,
    pool: Arc<Pool>,
}

impl Http1Body {
    /// Whoever drives the connection, it is not this.
    pub(super) fn alone(incoming: Incoming) -> Self {
        Self {
            incoming,
            held: None,
            _done: None,
        }
    }

    pub(super) fn driving(incoming: Incoming, http1: Http1, pool: Arc<Pool>) -> Self {
        Self {
            incoming,
            held: Some(Held { http1, pool }),
            _done: None,
        }
    }

    /// A task drives it, and has to know when the response is over.
    pub(super) fn driven(incoming: Incoming, done: oneshot::Sender<()>) -> Self {
        Self {
            incoming,
            held: None,
            _done: Some(done),
        }
    }

    /// The message is complete.
    pub(super) fn finish(&mut self) {
        if let Some(Held { http1, pool }) = self.held.take() {
            pool.put(http1);
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
        let Self { incoming, held, .. } = &mut *self;
        let mut poll = |cx: &mut Context<'_>| Pin::new(&mut *incoming).poll_frame(cx);
        let frame = match held {
            // The first frame has often come with the head.
            Some(Held { http1, .. }) => match poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(frame) => frame,
                Poll::Pending => ready!(http1.drive(cx, poll)),
            },
            None => ready!(poll(cx)),
        };
        match &frame {
            // Nothing comes after trailers, and hyper's server does not ask.
            Some(Ok(frame)) if !self.incoming.is_end_stream() && !frame.is_trailers() => {}
            Some(Ok(_)) | None => self.finish(),
            Some(Err(_)) => self.held = None,
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
