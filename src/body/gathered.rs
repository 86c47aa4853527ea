//! Joins small frames that are ready at the same time into one.
//!
//! A peer that writes in small pieces, such as a template engine that flushes after each line, makes many small frames.
//! Each costs the same on its way, whatever its size: a chunk and a write over HTTP/1, a frame over HTTP/2. Copying a
//! small frame costs about a hundredth of that.
//!
//! Both directions use it: for request bodies in `forward/service.rs`, for response bodies in
//! [`DeadlineBody`](super::DeadlineBody).
//!
//! It adds no latency: a frame is never held back for one that may come. It does not split large frames, does not
//! change the order or content of the data, and does not touch trailers.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::error::BoxError;

/// The size in bytes from which a frame is passed on as it is, without a copy: its fixed costs are small in relation to
/// it.
const SMALL: usize = 512;

/// The largest size in bytes of a joined frame. An HTTP/2 peer accepts no larger one unless it says so (RFC 9113
/// 6.5.2).
const ENOUGH: usize = 16 * 1024;

/// The largest number of frames that are joined. It bounds the time that one poll takes when the frames are tiny: a
/// poll that takes long delays the other tasks of its thread.
const MOST: usize = 1024;

pin_project! {
    /// A body that joins small frames of its inner body that are ready together.
    ///
    /// A poll reads on after a small frame for as long as further small frames are ready. What stops it:
    ///
    /// - *Pending*: the joined frame is yielded at once. The waker is registered, so the task is woken for the next
    ///   one.
    /// - *A large frame, trailers or an error*: held, and yielded by the next poll.
    /// - *The end*: held, unless the inner body already says that it is at its end.
    /// - *The limits*: [`ENOUGH`] bytes or [`MOST`] frames.
    ///
    /// An error is therefore yielded after all the data that came before it.
    #[derive(Debug)]
    pub(crate) struct GatheredBody<B> {
        #[pin]
        inner: B,
        // What stopped the last joining, if the next poll has to yield it.
        held: HeldFrame,
    }
}

/// What was read ahead and does not belong to the frame before it.
#[derive(Debug)]
enum HeldFrame {
    /// Nothing was read ahead. The next poll polls the inner body.
    Nothing,
    /// A large frame, trailers or an error. The next poll yields it as it is. Boxed, because few bodies have one, and
    /// all are moved several times.
    Item(Box<Result<Frame<Bytes>, BoxError>>),
    /// The inner body has returned its end while frames were joined. It is not polled again, and every later poll
    /// returns the end.
    End,
}

/// What `poll_frame` returns.
type PolledFrame = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl<B> GatheredBody<B> {
    /// Wraps a body.
    pub(crate) fn new(inner: B) -> Self {
        Self {
            inner,
            held: HeldFrame::Nothing,
        }
    }
}

impl<B> GatheredBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Returns `first` joined with the small frames that are ready after it, and holds what stopped the joining.
    ///
    /// Copies nothing if `first` remains alone.
    fn gather(mut self: Pin<&mut Self>, cx: &mut Context<'_>, first: Bytes) -> Bytes {
        let mut this = self.as_mut().project();
        let (first, mut all) = (first, BytesMut::new());
        for _ in 1..MOST {
            // Not every body may be polled after its end.
            if this.inner.is_end_stream() {
                break;
            }
            let next = match this.inner.as_mut().poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    *this.held = HeldFrame::End;
                    break;
                }
                Poll::Ready(Some(next)) => next,
            };
            let next = match next.map(Frame::into_data) {
                Ok(Ok(next)) if next.len() < SMALL => next,
                Ok(Ok(large)) => {
                    *this.held = HeldFrame::Item(Box::new(Ok(Frame::data(large))));
                    break;
                }
                Ok(Err(other)) => {
                    *this.held = HeldFrame::Item(Box::new(Ok(other)));
                    break;
                }
                Err(error) => {
                    *this.held = HeldFrame::Item(Box::new(Err(error.into())));
                    break;
                }
            };
            // The buffer is allocated only when there is something to join.
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&next);
            if all.len() + SMALL > ENOUGH {
                break;
            }
        }
        match all.is_empty() {
            true => first,
            false => all.freeze(),
        }
    }
}

impl<B> Body for GatheredBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = self.as_mut().project();
        match std::mem::replace(this.held, HeldFrame::Nothing) {
            HeldFrame::Nothing => {}
            // It is large, or no data, so nothing is joined to it.
            HeldFrame::Item(item) => return Poll::Ready(Some(*item)),
            HeldFrame::End => {
                *this.held = HeldFrame::End;
                return Poll::Ready(None);
            }
        }
        let polled = this.inner.poll_frame(cx);
        let Poll::Ready(Some(Ok(frame))) = polled else {
            return polled.map_err(Into::into);
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) if data.len() < SMALL => Frame::data(self.gather(cx, data)),
            Ok(data) => Frame::data(data),
            Err(other) => other,
        })))
    }

    fn is_end_stream(&self) -> bool {
        match &self.held {
            HeldFrame::Nothing => self.inner.is_end_stream(),
            HeldFrame::Item(_) => false,
            HeldFrame::End => true,
        }
    }

    /// Includes a data frame that was read ahead, so that a known length stays exact: it becomes `Content-Length`.
    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        let held = match &self.held {
            HeldFrame::Item(item) => item.as_ref().as_ref().ok().and_then(Frame::data_ref),
            _ => None,
        };
        let held = held.map_or(0, Bytes::len) as u64;
        if held > 0 {
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper.saturating_add(held));
            }
            hint.set_lower(hint.lower().saturating_add(held));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    type Item = Result<Frame<Bytes>, BoxError>;

    fn data(len: usize) -> Item {
        Ok(Frame::data(Bytes::from(vec![7; len])))
    }

    /// Returns the frames that come out: the length of each data frame, or what else it is.
    async fn ready(items: Vec<Item>) -> Vec<Result<usize, String>> {
        let mut body = GatheredBody::new(StreamBody::new(stream::iter(items)));
        let mut out = Vec::new();
        while let Some(item) = body.frame().await {
            out.push(match item.map(Frame::into_data) {
                Ok(Ok(data)) => Ok(data.len()),
                Ok(Err(_)) => Err("trailers".to_owned()),
                Err(error) => Err(error.to_string()),
            });
        }
        assert!(body.frame().await.is_none(), "it stays ended");
        out
    }

    #[tokio::test]
    async fn small_frames_that_are_ready_go_on_together() {
        let frames = ready((0..10_000).map(|_| data(1)).collect()).await;
        let sum: usize = frames.iter().flatten().sum();
        assert_eq!(sum, 10_000);
        assert!(frames.len() <= 10_000 / MOST + 1, "{} frames", frames.len());
        let frames = ready((0..100).map(|_| data(400)).collect()).await;
        assert!(frames.iter().all(|len| len.as_ref().unwrap() <= &ENOUGH));
        assert!(frames.len() <= 3, "{} frames", frames.len());
    }

    #[tokio::test]
    async fn large_frames_pass_untouched() {
        assert_eq!(
            ready(vec![data(10), data(SMALL), data(1), data(2)]).await,
            [Ok(10), Ok(SMALL), Ok(3)]
        );
        let large = Bytes::from(vec![7; SMALL]);
        let frames: Vec<Item> = vec![data(1), Ok(Frame::data(large.clone()))];
        let mut body = GatheredBody::new(StreamBody::new(stream::iter(frames)));
        body.frame().await.unwrap().unwrap();
        let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(second.as_ptr(), large.as_ptr(), "not copied");
    }

    #[tokio::test]
    async fn trailers_and_errors_stay_behind_the_data() {
        let trailers = || Ok(Frame::trailers(HeaderMap::new()));
        assert_eq!(
            ready(vec![data(1), data(2), trailers()]).await,
            [Ok(3), Err("trailers".to_owned())]
        );
        assert_eq!(
            ready(vec![data(1), data(2), Err("reset".into())]).await,
            [Ok(3), Err("reset".to_owned())]
        );
    }

    #[tokio::test]
    async fn no_frame_waits_for_another() {
        let frames = stream::iter([data(1), data(2)]).chain(stream::pending());
        let mut body = GatheredBody::new(StreamBody::new(frames));
        let both = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(both.len(), 3);
        assert!(futures_util::poll!(body.frame()).is_pending());
    }

    /// A body of known length, in frames of one byte.
    struct Counted(u64);

    impl Body for Counted {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> PolledFrame {
            assert_ne!(self.0, 0, "not polled after its end");
            self.0 -= 1;
            Poll::Ready(Some(Ok(Frame::data(
                vec![7; if self.0 == 0 { SMALL } else { 1 }].into(),
            ))))
        }

        fn is_end_stream(&self) -> bool {
            self.0 == 0
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(if self.0 == 0 {
                0
            } else {
                self.0 - 1 + SMALL as u64
            })
        }
    }

    #[tokio::test]
    async fn size_and_end_count_what_is_held() {
        let mut body = GatheredBody::new(Counted(3));
        assert_eq!(body.size_hint().exact(), Some(2 + SMALL as u64));
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.size_hint().exact(), Some(SMALL as u64));
        assert!(!body.is_end_stream());
        body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream());
    }
}
