//! The client's request body on its way up: limited in size, and with its trailers filtered.
//!
//! It is the innermost wrapper around what the server received, so what it fails with is the client's doing:
//! [`ErrorKind::BodyTooLarge`] or [`ErrorKind::RequestBody`]. [`Body`] around it reads the kind from the error and
//! records it, and `forward/future.rs` gives it precedence over whatever the endpoint's connection reports as a
//! consequence.
//!
//! There is no deadline here. A client that stops sending is noticed by the side that waits for the response
//! (`forward/head_timer.rs` and `response.rs`), because the body may not be polled at that time.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};

use super::{Body, exchange::is_too_large};
use crate::{
    error::{BoxError, Error, ErrorKind},
    rewrite::TrailerRule,
};

/// A request body that fails past a limit, and filters or drops its trailers.
///
/// A body whose declared length exceeds the limit does not come this far: `Forward::limit` refuses it before anything
/// is sent. The limit here is for bodies of unknown length, and for those that are longer than they said.
pub(crate) struct RequestBody {
    inner: Body,
    /// The number of bytes that may still come.
    remaining: u64,
    /// Which fields of the trailers are forwarded. `None` drops the trailers, for a request that has not announced any.
    trailers: Option<TrailerRule>,
}

impl RequestBody {
    /// Wraps `inner`, which may have up to `limit` bytes of data. Trailers do not count.
    pub(crate) fn new(inner: Body, limit: u64, trailers: Option<TrailerRule>) -> Self {
        Self {
            inner,
            remaining: limit,
            trailers,
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    /// # Errors
    ///
    /// - [`ErrorKind::BodyTooLarge`], a 413, if the data exceeds the limit. The frame that crosses it is not forwarded.
    /// - [`ErrorKind::BodyTooLarge`] also if a limit that a layer in front has set was exceeded.
    /// - [`ErrorKind::RequestBody`], a 400, if the inner body fails: the client disconnected, or its framing was
    ///   invalid.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                // A limit that a layer in front has set counts as the proxy's own does.
                let too_large = is_too_large(&*error);
                let kind = if too_large {
                    ErrorKind::BodyTooLarge
                } else {
                    ErrorKind::RequestBody
                };
                return Poll::Ready(Some(Err(Error::new(kind).with(error).into())));
            }
            None => return Poll::Ready(None),
        };
        if let Some(data) = frame.data_ref() {
            let Some(remaining) = this.remaining.checked_sub(data.remaining() as u64) else {
                return Poll::Ready(Some(Err(Error::new(ErrorKind::BodyTooLarge).into())));
            };
            this.remaining = remaining;
        } else if let Some(trailers) = frame.trailers_mut() {
            match &this.trailers {
                Some(rule) => rule.strip(trailers),
                // Nothing comes after trailers.
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    /// Unchanged by the limit: a body that says it is longer has been refused before.
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn frames(frames: Vec<Frame<Bytes>>) -> Body {
        let frames: Vec<Result<_, BoxError>> = frames.into_iter().map(Ok).collect();
        Body::new(StreamBody::new(futures_util::stream::iter(frames)))
    }

    #[tokio::test]
    async fn past_the_limit_it_fails() {
        let inner = frames(vec![Frame::data("12345".into()), Frame::data("6".into())]);
        let mut body = RequestBody::new(inner, 5, None);
        assert!(body.frame().await.unwrap().is_ok());
        assert!(is_too_large(&*body.frame().await.unwrap().unwrap_err()));
    }

    #[tokio::test]
    async fn trailers_are_dropped_or_filtered() {
        let trailers = || {
            let map =
                [("a", "1"), ("host", "2")].map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
            frames(vec![Frame::trailers(HeaderMap::from_iter(map))])
        };
        let without = RequestBody::new(trailers(), 9, None);
        assert!(without.collect().await.unwrap().trailers().is_none());

        let filtered = RequestBody::new(trailers(), 9, Some(TrailerRule::default()));
        assert_eq!(
            filtered.collect().await.unwrap().trailers().unwrap().len(),
            1
        );
    }
}
