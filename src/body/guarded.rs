//! A response body that holds a guard until its last byte has been yielded.
//!
//! An attempt does not end with its response head. What counts it, the balancer's load or a client's own record, is a
//! [`Guard`] that moves from the response future into [`GuardedBody`], and learns there how the body ended:
//!
//! - The last frame, or the end: [`Guard::complete`].
//! - Data: [`Guard::data`].
//! - Trailers: [`Guard::trailers`], then [`Guard::complete`].
//! - An error: [`Guard::failed`].
//! - Dropped before its end: the guard is dropped. It decides by itself what that means.
//!
//! The guard is notified of one end, the first of these, and is gone from the body afterwards. No frame is changed
//! or delayed, and no deadline is enforced here: `response.rs` does that, outside of this body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tracing::span::EnteredSpan;

/// Notified when a response body ends, and how. A guard that is not notified is dropped with the body.
///
/// `E` is the error of the body.
pub(crate) trait Guard<E> {
    /// Enters the span of the attempt, if it is enabled, while the body is polled.
    fn enter(&self) -> Option<EnteredSpan>;

    /// The body is complete.
    fn complete(self);

    /// So many bytes of data have arrived.
    fn data(&mut self, bytes: usize);

    /// The trailers have arrived, which may contain a gRPC status. [`complete`](Self::complete) follows at once.
    fn trailers(&mut self, trailers: &HeaderMap);

    /// The body has failed.
    fn failed(self, error: &E);
}

pin_project! {
    /// A body that notifies its guard when it has ended or failed, and drops it when the body is dropped before that.
    ///
    /// States:
    ///
    /// - *Open*: the guard is held, so the attempt counts as in flight.
    /// - *Ended*: the guard has been notified, and is gone. Later polls reach the inner body, and notify nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the body drops the guard, which takes it for a cancellation unless a deadline of the proxy is on
    /// record.
    #[derive(Debug)]
    pub(crate) struct GuardedBody<B, G> {
        #[pin]
        inner: B,
        // `None` once it has been notified.
        guard: Option<G>,
        // Whether the body never ends by itself.
        hold: bool,
    }
}

impl<B: Body, G: Guard<B::Error>> GuardedBody<B, G> {
    /// Wraps `inner`.
    ///
    /// A body that is at its end already completes its guard at once, because nothing will poll it. `hold` keeps the
    /// guard nevertheless: the body of a 101 is empty, but its exchange goes on as a tunnel. It then stays pending, and
    /// the guard learns from the record how the tunnel ended when the body is dropped.
    pub(crate) fn new(inner: B, guard: G, hold: bool) -> Self {
        if inner.is_end_stream() && !hold {
            guard.complete();
            return Self {
                inner,
                guard: None,
                hold,
            };
        }
        Self {
            inner,
            guard: Some(guard),
            hold,
        }
    }

    /// Returns the guard while it is held, to notify it of anything else.
    pub(crate) fn guard(self: Pin<&mut Self>) -> &mut Option<G> {
        self.project().guard
    }
}

impl<B: Body, G: Guard<B::Error>> Body for GuardedBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        if *this.hold {
            return Poll::Pending;
        }
        let _entered = this.guard.as_ref().and_then(Guard::enter);
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        let guard = this.guard;
        if let (Some(Ok(frame)), Some(guard)) = (&frame, guard.as_mut()) {
            guard.data(frame.data_ref().map_or(0, Buf::remaining));
        }
        match &frame {
            Some(Err(error)) => {
                if let Some(guard) = guard.take() {
                    guard.failed(error);
                }
            }
            Some(Ok(frame)) if frame.is_trailers() => {
                // Nothing comes after trailers, and hyper's server does not ask for more.
                if let (Some(mut guard), Some(trailers)) = (guard.take(), frame.trailers_ref()) {
                    guard.trailers(trailers);
                    guard.complete();
                }
            }
            // The last frame is the end, not the poll after it: hyper does not poll once `is_end_stream` returns
            // `true`.
            Some(Ok(_)) if !this.inner.is_end_stream() => {}
            Some(Ok(_)) | None => {
                if let Some(guard) = guard.take() {
                    guard.complete();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
