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
    /// Dropping it before its end drops the body of the first service. The answers are compared only if all data of a
    /// declared length had passed by then.
    #[derive(Debug)]
    pub struct MirrorBody<B> {
        #[pin]
        inner: B,
        // `None` if nothing is compared, or once the answer has been told.
        observer: Option<Box<AnswerObserver>>,
    }

    impl<B> PinnedDrop for MirrorBody<B> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(observer) = this.project().observer.take_if(|observer| observer.is_whole) {
                observer.tell();
            }
        }
    }
}

/// Reads the answer of the first service as it passes, and tells the task of the copy at its end.
#[derive(Debug)]
pub(super) struct AnswerObserver {
    reader: AnswerReader,
    tell: oneshot::Sender<MirrorAnswer>,
    /// Whether all data of a declared length has passed. Only trailers may follow, and a server need not ask for them:
    /// then the drop of the body is its end, too.
    is_whole: bool,
}

impl AnswerObserver {
    pub(super) fn new(reader: AnswerReader, tell: oneshot::Sender<MirrorAnswer>) -> Self {
        Self {
            reader,
            tell,
            is_whole: false,
        }
    }

    fn tell(self) {
        // The task may have given up waiting.
        let _ = self.tell.send(self.reader.finish());
    }
}

impl<B: Body<Data = Bytes>> MirrorBody<B> {
    /// Wraps a body. If it is at its end, the answer is told at once, because nothing polls the body then.
    pub(super) fn new(inner: B, observer: Option<AnswerObserver>) -> Self {
        let mut observer = observer.map(Box::new);
        if let Some(observer) = observer.take_if(|_| inner.is_end_stream()) {
            observer.tell();
        }
        if let Some(observer) = &mut observer {
            observer.is_whole = is_whole(&inner);
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
                let within = this.observer.as_mut().is_none_or(|observer| {
                    observer.is_whole = is_whole(&*this.inner);
                    observer.reader.frame(frame)
                });
                // The last frame is the end: a server need not poll again. Beyond the limit, nothing more is compared.
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

/// Returns whether no data is left of a body whose length is known.
pub(super) fn is_whole(body: &impl Body) -> bool {
    body.size_hint().exact() == Some(0)
}
