//! The response body of a mirror.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use super::answer::{AnswerReader, MirrorAnswer};

pin_project! {
    /// The response body of [`Mirror`](super::Mirror): that of the first service, frame by frame. Where answers are
    /// compared, it is hashed as it passes.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before its end drops the body of the first service. The answers are not compared then.
    #[derive(Debug)]
    pub struct MirrorBody<B> {
        #[pin]
        inner: B,
        // `None` if nothing is compared, or once the answer has been told.
        observer: Option<Box<AnswerObserver>>,
    }
}

/// Reads the answer of the first service as it passes, and tells the task of the copy at its end.
#[derive(Debug)]
pub(super) struct AnswerObserver {
    reader: AnswerReader,
    tell: oneshot::Sender<MirrorAnswer>,
}

impl AnswerObserver {
    pub(super) fn new(reader: AnswerReader, tell: oneshot::Sender<MirrorAnswer>) -> Self {
        Self { reader, tell }
    }

    fn tell(self) {
        // The task may have given up waiting.
        let _ = self.tell.send(self.reader.finish());
    }
}

impl<B: Body<Data = Bytes>> MirrorBody<B> {
    /// Wraps a body. One that is at its end is told of at once, because nothing polls it.
    pub(super) fn new(inner: B, observer: Option<AnswerObserver>) -> Self {
        let mut observer = observer.map(Box::new);
        if let Some(observer) = observer.take_if(|_| inner.is_end_stream()) {
            observer.tell();
        }
        Self { inner, observer }
    }
}

impl<B: Body<Data = Bytes>> Body for MirrorBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        let is_over = match &frame {
            Some(Ok(frame)) => {
                let within = this
                    .observer
                    .as_mut()
                    .is_none_or(|observer| observer.reader.frame(frame));
                // The last frame is the end: a server need not poll again. Beyond the limit, no more is of interest.
                !within || frame.is_trailers() || this.inner.is_end_stream()
            }
            // Without an answer that is whole, nothing is told.
            Some(Err(_)) => {
                *this.observer = None;
                false
            }
            None => true,
        };
        if let Some(observer) = this.observer.take_if(|_| is_over) {
            observer.tell();
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
