//! The response body of a [`LoadBalance`](super::LoadBalance).

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{body::GuardedBody, endpoint::InFlight};

pin_project! {
    /// The response body of a [`LoadBalance`](super::LoadBalance): its endpoint's own, counted as in flight there until
    /// it ends or is dropped.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        inner: GuardedBody<B, InFlight>,
    }
}

impl<B: Body> ResponseBody<B> {
    /// `hold` keeps the request in flight until the drop, for the empty body of a tunnel's 101.
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
