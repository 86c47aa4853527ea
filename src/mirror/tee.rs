//! The body of a request that is copied while the first service reads it.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tower::Service;

use super::copy::{CopiedBody, RequestMirror};
use crate::{
    body::{Body, KeptFrames},
    error::BoxError,
};

/// A body that keeps what passes, and has the copy sent once all of it has.
///
/// Nothing is read that the first service has not asked for. What is kept ends with the limit, with an error, and with
/// a first service that drops the body half way: then the request is left out.
///
/// States: *copying*, while there is a copy; then it only passes frames on.
pub(super) struct TeeBody<M> {
    inner: Body,
    /// `None` once it has been sent, or is not going to be.
    copy: Option<Box<CopyInProgress<M>>>,
}

/// A copy, and what is there of its body.
struct CopyInProgress<M> {
    mirror: RequestMirror<M>,
    kept: KeptFrames,
}

impl<M> TeeBody<M> {
    /// Copies up to `limit` bytes of data of a body.
    pub(super) fn new(inner: Body, mirror: RequestMirror<M>, limit: usize) -> Self {
        let kept = KeptFrames::new(limit);
        Self {
            inner,
            copy: Some(Box::new(CopyInProgress { mirror, kept })),
        }
    }

    /// Keeps a frame. `last` says that none follows.
    fn keep(&mut self, frame: &Frame<Bytes>, last: bool) {
        if let Some(copy) = &mut self.copy {
            drop(copy.kept.keep(frame, last));
            if !copy.kept.is_keeping() {
                copy.mirror.counts().too_large.add();
                self.copy = None;
            }
        }
    }
}

impl<M, B> http_body::Body for TeeBody<M>
where
    M: Service<Request<Body>, Response = Response<B>, Future: Send> + Send + 'static,
    M::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        let is_over = match &frame {
            Some(Ok(frame)) => {
                // A connection that knows the length may not ask for the end.
                let last = frame.is_trailers()
                    || this.inner.is_end_stream()
                    || this.inner.size_hint().exact() == Some(0);
                this.keep(frame, last);
                last
            }
            Some(Err(_)) => false,
            None => true,
        };
        if let Some(copy) = this.copy.take_if(|_| is_over) {
            let CopyInProgress { mirror, mut kept } = *copy;
            kept.rewind();
            let frames: VecDeque<_> = std::iter::from_fn(|| kept.next()).collect();
            mirror.start(Body::new(CopiedBody::new(frames)));
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

impl<M> Drop for TeeBody<M> {
    fn drop(&mut self) {
        if let Some(copy) = &self.copy {
            copy.mirror.counts().incomplete.add();
        }
    }
}
