//! The response body of a [`LoadBalance`](super::LoadBalance).
//!
//! [`ResponseBody`] hides the crate's own guard behind a public type. It adds no buffering and changes no frame: data,
//! trailers, size hint and end of stream are those of the endpoint's body. It only ends early if its endpoint has been
//! drained, and the time for what was in flight is over.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    body::GuardedBody,
    endpoint::InFlight,
    error::{BoxError, Error, ErrorKind},
};

pin_project! {
    /// The response body of a [`LoadBalance`](super::LoadBalance).
    ///
    /// It is the body of the endpoint's response. The request counts as in flight at the endpoint until this body has
    /// yielded its last frame, fails or is dropped.
    ///
    /// # Errors
    ///
    /// That of the endpoint's body; or an [`Error`](crate::Error) of the kind
    /// [`Drained`](crate::ErrorKind::Drained) if the endpoint was [drained](super::Handle::drain), and the response had
    /// not ended in time.
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

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut inner = self.project().inner;
        let polled = inner.as_mut().poll_frame(cx);
        if let Poll::Ready(frame) = polled {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let guard = inner.guard();
        let cut_off = guard.as_mut().is_some_and(|in_flight| {
            in_flight.watch(cx);
            in_flight.is_cut_off()
        });
        match guard.take_if(|_| cut_off) {
            Some(mut in_flight) => {
                let error = Error::new(ErrorKind::Drained);
                let _ = in_flight.failed(&error);
                Poll::Ready(Some(Err(error.into())))
            }
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
