//! Small frames that are ready together, as one.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::error::BoxError;

/// Frames of this size and above go on as they are, uncopied: on them, what each costs is little.
const SMALL: usize = 512;

/// How large a frame becomes, at most, by others that are added to it.
const ENOUGH: usize = 16 * 1024;

/// How many frames become one, at most: whoever asks for a frame shall not wait long for it.
const MOST: usize = 1024;

pin_project! {
    /// Makes one frame of small ones that are ready together.
    ///
    /// What a frame costs on its way, a chunk and a write or an HTTP/2 frame, does not depend on its size, and is a
    /// hundred times what copying a small one costs. No frame waits for another: the first that is not ready ends the
    /// gathering.
    #[derive(Debug)]
    pub(crate) struct GatheredBody<B> {
        #[pin]
        inner: B,
        held: Held,
    }
}

/// What was ready and does not belong to the frame before it.
#[derive(Debug)]
enum Held {
    Nothing,
    Item(Result<Frame<Bytes>, BoxError>),
    /// The end of the body.
    End,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl<B> GatheredBody<B> {
    pub(crate) fn new(inner: B) -> Self {
        Self {
            inner,
            held: Held::Nothing,
        }
    }
}

impl<B> GatheredBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Adds what is ready to a small frame.
    fn gather(mut self: Pin<&mut Self>, cx: &mut Context<'_>, first: Bytes) -> Bytes {
        let mut this = self.as_mut().project();
        let (first, mut all) = (first, BytesMut::new());
        for _ in 1..MOST {
            if this.inner.is_end_stream() {
                break;
            }
            let next = match this.inner.as_mut().poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    *this.held = Held::End;
                    break;
                }
                Poll::Ready(Some(next)) => next,
            };
            let next = match next.map(Frame::into_data) {
                Ok(Ok(next)) if next.len() < SMALL => next,
                Ok(Ok(large)) => {
                    *this.held = Held::Item(Ok(Frame::data(large)));
                    break;
                }
                Ok(Err(other)) => {
                    *this.held = Held::Item(Ok(other));
                    break;
                }
                Err(error) => {
                    *this.held = Held::Item(Err(error.into()));
                    break;
                }
            };
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

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.as_mut().project();
        match std::mem::replace(this.held, Held::Nothing) {
            Held::Nothing => {}
            // It was large, or no data: nothing is added to it.
            Held::Item(item) => return Poll::Ready(Some(item)),
            Held::End => {
                *this.held = Held::End;
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
            Held::Nothing => self.inner.is_end_stream(),
            Held::Item(_) => false,
            Held::End => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        let held = match &self.held {
            Held::Item(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            _ => 0,
        };
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

    /// What comes out: the length of a frame of data, or what else it is.
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

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
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
