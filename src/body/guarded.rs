//! A response body that holds a guard until its last byte has left.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    error::{Error, ErrorKind},
    record::{AttemptGuard, Verdict, grpc_verdict},
};

/// Told how a body ended. A guard that is told nothing is dropped with the body.
pub(crate) trait Guard<E> {
    /// The body is complete.
    fn complete(self);

    /// Trailers are there, which are the end of the body, too.
    fn trailers(&mut self, trailers: &HeaderMap);

    /// The body has failed.
    fn failed(self, error: &E);
}

/// The guard of an attempt that no balancer counts.
impl<E> Guard<E> for Option<AttemptGuard> {
    fn complete(self) {
        if let Some(attempt) = self {
            attempt.answered(Verdict::Success);
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let (Some(attempt), Some(Verdict::Failure)) = (self, grpc_verdict(trailers)) {
            attempt.answered(Verdict::Failure);
        }
    }

    fn failed(self, _: &E) {
        if let Some(attempt) = self {
            attempt.failed(&Error::new(ErrorKind::ResponseBody));
        }
    }
}

pin_project! {
    /// Tells its guard when the body has ended or failed, and drops it when the body is dropped half way.
    #[derive(Debug)]
    pub(crate) struct GuardedBody<B, G> {
        #[pin]
        inner: B,
        guard: Option<G>,
    }
}

impl<B: Body, G: Guard<B::Error>> GuardedBody<B, G> {
    /// Wraps `inner`. A body that has ended already completes its guard at once: nothing will poll it. `hold` keeps the
    /// guard until the drop, for the empty body of a 101, whose exchange goes on as a tunnel.
    pub(crate) fn new(inner: B, guard: G, hold: bool) -> Self {
        if inner.is_end_stream() && !hold {
            guard.complete();
            return Self { inner, guard: None };
        }
        Self {
            inner,
            guard: Some(guard),
        }
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
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        let guard = this.guard;
        match &frame {
            Some(Err(error)) => {
                if let Some(guard) = guard.take() {
                    guard.failed(error);
                }
            }
            Some(Ok(frame)) if frame.is_trailers() => {
                // Nothing comes after trailers, and hyper's server does not ask.
                if let (Some(mut guard), Some(trailers)) = (guard.take(), frame.trailers_ref()) {
                    guard.trailers(trailers);
                    guard.complete();
                }
            }
            // The last frame is the end, not the poll after it: hyper does not poll once `is_end_stream` is true.
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
