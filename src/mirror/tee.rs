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

use super::{
    body::is_whole,
    copy::{CopiedBody, RequestMirror},
};
use crate::{
    body::{Body, KeptFrames},
    error::BoxError,
};

/// A body that keeps what passes, and has the copy sent once all of it has.
///
/// Nothing is read that the first service has not asked for. What is kept ends with the limit, with an error, and with
/// a first service that drops the body half way: then the request is left out.
///
/// States:
///
/// - *Copying*: there is a copy. It is sent with the end of the body. Once the length that was declared has passed,
///   only trailers may follow, and a connection need not ask for them: then the drop of the body is its end, too.
/// - *Passing on*, after that, without a copy.
pub(super) struct TeeBody<M> {
    inner: Body,
    /// `None` once it has been sent, or is not going to be.
    copy: Option<Box<CopyInProgress<M>>>,
}

/// A copy, and what is there of its body.
struct CopyInProgress<M> {
    mirror: RequestMirror<M>,
    /// Sends the copy. A function pointer, because `Drop` cannot have bounds on the second service of its own.
    send: fn(RequestMirror<M>, Body),
    kept: KeptFrames,
    /// Whether all data has passed.
    is_whole: bool,
}

impl<M> TeeBody<M> {
    /// Copies up to `limit` bytes of data of a body.
    pub(super) fn new<B>(inner: Body, mirror: RequestMirror<M>, limit: usize) -> Self
    where
        M: Service<Request<Body>, Response = Response<B>, Future: Send> + Send + 'static,
        M::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let copy = CopyInProgress {
            mirror,
            send: RequestMirror::start,
            kept: KeptFrames::new(limit),
            is_whole: is_whole(&inner),
        };
        Self {
            inner,
            copy: Some(Box::new(copy)),
        }
    }

    /// Keeps a frame. `last` says that none follows.
    fn keep(&mut self, frame: &Frame<Bytes>, last: bool) {
        let Some(copy) = &mut self.copy else { return };
        drop(copy.kept.keep(frame, last));
        copy.is_whole = last || is_whole(&self.inner);
        if !copy.kept.is_keeping() {
            copy.mirror.counts().too_large.add();
            self.copy = None;
        }
    }
}

impl<M> CopyInProgress<M> {
    fn send(mut self) {
        self.kept.rewind();
        let frames: VecDeque<_> = std::iter::from_fn(|| self.kept.next()).collect();
        (self.send)(self.mirror, Body::new(CopiedBody::new(frames)));
    }
}

impl<M> http_body::Body for TeeBody<M> {
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
                let last = frame.is_trailers() || this.inner.is_end_stream();
                this.keep(frame, last);
                last
            }
            Some(Err(_)) => {
                // What has failed is not whole, whatever its length was.
                if let Some(copy) = &mut this.copy {
                    copy.is_whole = false;
                }
                false
            }
            None => true,
        };
        if let Some(copy) = this.copy.take_if(|_| is_over) {
            copy.send();
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
        match self.copy.take() {
            Some(copy) if copy.is_whole => copy.send(),
            Some(copy) => copy.mirror.counts().incomplete.add(),
            None => {}
        }
    }
}
