//! The response body, whose drop is the end of the exchange for the log.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::line::PendingLine;

pin_project! {
    /// The response body of [`AccessLog`](super::AccessLog): that of the service around which it is.
    ///
    /// Its drop logs the line.
    pub struct AccessLogBody<B> {
        // Dropped before the line is written, which says how the exchange has ended.
        #[pin]
        inner: B,
        line: Option<PendingLine>,
    }
}

impl<B: Body> AccessLogBody<B> {
    /// Wraps the body of a response. One that is at its end already is complete.
    pub(super) fn new(inner: B, mut line: Option<PendingLine>) -> Self {
        if let Some(line) = line.as_mut().filter(|_| is_whole(&inner)) {
            line.complete();
        }
        Self { inner, line }
    }
}

/// Returns whether there is no more data to come. A server that has sent the announced length asks for no more, even if
/// trailers could follow.
fn is_whole<B: Body>(body: &B) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

impl<B: Body> Body for AccessLogBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        if let Some(line) = this.line {
            match &frame {
                Some(Ok(frame)) => {
                    line.sent(frame.data_ref().map_or(0, Buf::remaining));
                    if frame.is_trailers() || is_whole(&*this.inner) {
                        line.complete();
                    }
                }
                Some(Err(_)) => line.broke(),
                None => line.complete(),
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

impl<B> fmt::Debug for AccessLogBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLogBody").finish_non_exhaustive()
    }
}
