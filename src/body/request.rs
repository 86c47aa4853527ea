//! The request body on its way up: counted, watched, its trailers checked.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use http_body_util::LengthLimitError;

use super::{Body, Progress, Trailers, Upload};
use crate::error::{BoxError, Error, Kind};

/// Tells [`Progress`] of every frame, fails past the limit, and filters or drops trailers.
pub(crate) struct RequestBody {
    inner: Body,
    progress: Arc<Progress>,
    /// Bytes that may still come.
    remaining: u64,
    /// What trailers go through; `None` drops them.
    trailers: Option<Trailers>,
}

impl RequestBody {
    pub(crate) fn new(
        inner: Body,
        progress: Arc<Progress>,
        limit: u64,
        trailers: Option<Trailers>,
    ) -> Self {
        Self {
            inner,
            progress,
            remaining: limit,
            trailers,
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            // The client's time runs from when it is its turn.
            if this.progress.upload() == Upload::Held {
                this.progress.touch(Upload::Wanted);
            }
            return Poll::Pending;
        };
        let mut frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                // A limit that a layer in front has set.
                let too_large = is_length_limit(&*error);
                this.progress.touch(if too_large {
                    Upload::TooLarge
                } else {
                    Upload::Broken
                });
                let kind = if too_large {
                    Kind::BodyTooLarge
                } else {
                    Kind::RequestBody
                };
                return Poll::Ready(Some(Err(Error::new(kind).with(error).into())));
            }
            None => {
                this.progress.touch(Upload::Done);
                return Poll::Ready(None);
            }
        };
        if let Some(data) = frame.data_ref() {
            let Some(remaining) = this.remaining.checked_sub(data.remaining() as u64) else {
                this.progress.touch(Upload::TooLarge);
                return Poll::Ready(Some(Err(Error::new(Kind::BodyTooLarge).into())));
            };
            this.remaining = remaining;
            let ended = this.inner.is_end_stream();
            this.progress
                .touch(if ended { Upload::Done } else { Upload::Held });
        } else if let Some(trailers) = frame.trailers_mut() {
            this.progress.touch(Upload::Done);
            match &this.trailers {
                Some(rule) => rule.strip(trailers),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn is_length_limit(error: &(dyn StdError + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_length_limit)
}

impl Drop for RequestBody {
    /// An endpoint that drops the body early wants no more of it: from then on only its response is waited for.
    fn drop(&mut self) {
        if matches!(self.progress.upload(), Upload::Held | Upload::Wanted) {
            self.progress.touch(Upload::Done);
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const B: HeaderName = HeaderName::from_static("b");

    fn frames(frames: Vec<Frame<Bytes>>) -> Body {
        let frames: Vec<Result<_, BoxError>> = frames.into_iter().map(Ok).collect();
        Body::new(StreamBody::new(futures_util::stream::iter(frames)))
    }

    #[tokio::test]
    async fn past_the_limit_it_fails_and_says_so() {
        let progress = Arc::new(Progress::new());
        let inner = frames(vec![Frame::data("12345".into()), Frame::data("6".into())]);
        let mut body = RequestBody::new(inner, progress.clone(), 5, None);
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(progress.upload(), Upload::TooLarge);
    }

    #[tokio::test]
    async fn trailers_are_dropped_or_filtered() {
        let trailers = || {
            let map =
                [("a", "1"), ("b", "2")].map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
            frames(vec![Frame::trailers(HeaderMap::from_iter(map))])
        };
        let without = RequestBody::new(trailers(), Arc::new(Progress::new()), 9, None);
        assert!(without.collect().await.unwrap().trailers().is_none());

        fn remove(map: &mut HeaderMap, names: &[HeaderName]) {
            map.remove(&names[0]);
        }
        let rule = Trailers::new(remove, vec![B]);
        let filtered = RequestBody::new(trailers(), Arc::new(Progress::new()), 9, Some(rule));
        assert_eq!(
            filtered.collect().await.unwrap().trailers().unwrap().len(),
            1
        );
    }

    #[test]
    fn dropped_half_way_is_done() {
        let progress = Arc::new(Progress::new());
        drop(RequestBody::new(
            frames(vec![Frame::data("1".into())]),
            progress.clone(),
            9,
            None,
        ));
        assert_eq!(progress.upload(), Upload::Done);
    }
}
