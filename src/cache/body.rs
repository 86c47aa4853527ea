//! The response body: from the store, from a flight, or that of the service.

use std::{
    fmt,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{
    flight::Flight,
    recording::{Recorded, RecordingCursor},
    stored::StoredBody,
};
use crate::error::BoxError;

pin_project! {
    /// The response body of a [`Cache`](super::Cache).
    ///
    /// # Errors
    ///
    /// A response that breaks while it is being stored breaks for all who read it. One that has turned out to be too
    /// large to be stored fails for a client that is much slower than another one that reads the same response.
    pub struct CacheBody<B> {
        #[pin]
        source: BodyOrigin<B>,
    }
}

pin_project! {
    #[project = BodyOriginProjection]
    enum BodyOrigin<B> {
        Passed { #[pin] body: B },
        Stored { cursor: StoredCursor },
        Live { cursor: RecordingCursor, left: Option<u64>, _flight: Arc<Flight> },
        Empty,
    }
}

/// A place in a stored body.
struct StoredCursor {
    body: Arc<StoredBody>,
    /// The next chunk, and where it begins.
    chunk: usize,
    offset: u64,
    /// What is still to be sent.
    range: Range<u64>,
    /// Whether the trailers are still to be sent.
    trailers: bool,
}

impl<B> CacheBody<B> {
    pub(super) fn empty() -> Self {
        Self {
            source: BodyOrigin::Empty,
        }
    }

    /// Passes the body of the service on.
    pub(super) fn passed(body: B) -> Self {
        Self {
            source: BodyOrigin::Passed { body },
        }
    }

    /// Sends a range of a stored body. With all of it go the trailers.
    pub(super) fn stored(body: Arc<StoredBody>, range: Range<u64>) -> Self {
        let trailers = range == (0..body.length) && body.trailers.is_some();
        let cursor = StoredCursor {
            body,
            chunk: 0,
            offset: 0,
            range,
            trailers,
        };
        Self {
            source: BodyOrigin::Stored { cursor },
        }
    }

    /// Follows a response that arrives. `length` is that of its content, if it is known.
    pub(super) fn live(cursor: RecordingCursor, length: Option<u64>, flight: Arc<Flight>) -> Self {
        let source = BodyOrigin::Live {
            cursor,
            left: length,
            _flight: flight,
        };
        Self { source }
    }
}

impl StoredCursor {
    fn next(&mut self) -> Option<Frame<Bytes>> {
        while self.range.start < self.range.end {
            let chunk = self.body.chunks.get(self.chunk)?;
            let end = self.offset + chunk.len() as u64;
            let part = self.range.start..self.range.end.min(end);
            let offset = self.offset;
            self.chunk += 1;
            self.offset = end;
            if part.start < part.end {
                self.range.start = part.end;
                // Within the chunk, so they fit.
                let place = |at: u64| usize::try_from(at - offset).unwrap_or(0);
                return Some(Frame::data(chunk.slice(place(part.start)..place(part.end))));
            }
        }
        let trailers = std::mem::take(&mut self.trailers);
        trailers
            .then(|| self.body.trailers.clone())
            .flatten()
            .map(Frame::trailers)
    }
}

impl<B> Body for CacheBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().source.project() {
            BodyOriginProjection::Passed { body } => body.poll_frame(cx).map_err(Into::into),
            BodyOriginProjection::Stored { cursor } => Poll::Ready(cursor.next().map(Ok)),
            BodyOriginProjection::Live { cursor, left, .. } => {
                Poll::Ready(match ready!(cursor.poll_next(cx)) {
                    Ok(Recorded::Data(data)) => {
                        if let Some(left) = left {
                            *left = left.saturating_sub(data.len() as u64);
                        }
                        Some(Ok(Frame::data(data)))
                    }
                    Ok(Recorded::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                    Ok(Recorded::End) => None,
                    Err(error) => Some(Err(error.into())),
                })
            }
            BodyOriginProjection::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            BodyOrigin::Passed { body } => body.is_end_stream(),
            BodyOrigin::Stored { cursor } => cursor.range.is_empty() && !cursor.trailers,
            BodyOrigin::Live { cursor, .. } => cursor.is_at_end(),
            BodyOrigin::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            BodyOrigin::Passed { body } => body.size_hint(),
            BodyOrigin::Stored { cursor } => {
                SizeHint::with_exact(cursor.range.end.saturating_sub(cursor.range.start))
            }
            BodyOrigin::Live { left, .. } => left.map(SizeHint::with_exact).unwrap_or_default(),
            BodyOrigin::Empty => SizeHint::with_exact(0),
        }
    }
}

impl<B> fmt::Debug for CacheBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBody").finish_non_exhaustive()
    }
}
