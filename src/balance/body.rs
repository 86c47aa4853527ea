//! The response body of a [`LoadBalance`](super::LoadBalance).
//!
//! [`ResponseBody`] hides the crate's own guard behind a public type. It adds no buffering and changes no frame: data,
//! trailers, size hint and end of stream are those of the endpoint's body.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{body::GuardedBody, endpoint::InFlight};

pin_project! {
    /// The response body of a [`LoadBalance`](super::LoadBalance).
    ///
    /// It is the body of the endpoint's response. The request counts as in flight at the endpoint until this body has
    /// yielded its last frame, fails or is dropped.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        // Ends the request's count. The `InFlight` also decides the outcome of the attempt, by how the body ends.
        #[pin]
        inner: GuardedBody<B, InFlight>,
    }
}

impl<B: Body> ResponseBody<B> {
    /// Wraps the body of a response, with the request that it answers.
    ///
    /// A body that is at its end already ends the request at once, since nothing polls it again. `hold` is for a 101:
    /// its body is empty, but the exchange goes on as a tunnel, so the request stays in flight until the drop.
    pub(super) fn new(inner: B, in_flight: InFlight, hold: bool) -> Self {
        Self {
            inner: GuardedBody::new(inner, in_flight, hold),
        }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
