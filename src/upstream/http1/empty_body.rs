//! Bodies that turn out to be empty.
//!
//! A body of unknown length is sent in chunks (RFC 9112 6.1), and a chunked head says that there is a body. HTTP/2 does
//! not say in a head whether a body follows, so that has to be found out first: see [`settle_body`].

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::timeout;

use crate::{body::Body, error::BoxError};

/// How long a request whose method has no use for a body waits to find out whether it has one.
///
/// Libraries that end a request with a separate, empty frame send it at once; with Nagle's algorithm against delayed
/// acknowledgements it takes 40 ms.
const FIRST_FRAME: Duration = Duration::from_millis(100);

/// Removes a body that turns out to be empty, before the head says that there is one.
///
/// An HTTP/2 client may end its request with an empty DATA frame, and an HTTP/1 client may send only the last chunk.
/// Servers that refuse a GET with a body (400, 501) would refuse such a request if it were forwarded as chunked.
///
/// A body that has no frame yet is waited for only if the method gives content no meaning, and for [`FIRST_FRAME`] at
/// most: a request may be a conversation in which each side waits for the other to speak first. A frame that was taken
/// out to look at it is put back, and so is an error.
///
/// # Cancel safety
///
/// Dropping the future loses the frame that it has taken out, and so the request; the caller drops both.
pub(in crate::upstream) async fn settle_body(request: &mut Request<Body>) {
    let waits = !expects_content(request.method());
    let body = request.body_mut();
    let mut first = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
    if first.is_pending() && waits {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        let frame = timeout(FIRST_FRAME, frame).await;
        first = frame.map_or(Poll::Pending, Poll::Ready);
    }
    match first {
        Poll::Pending => {}
        Poll::Ready(Some(Ok(frame))) if is_empty(&frame) && body.is_end_stream() => {
            *body = body.empty_like();
        }
        Poll::Ready(Some(first)) => {
            let first = Some(first);
            *body = std::mem::take(body).wrap(|rest| Begun { first, rest });
        }
        Poll::Ready(None) => *body = body.empty_like(),
    }
}

/// Returns whether nothing tells how long a body is, or whether there is one at all.
pub(in crate::upstream) fn is_of_unknown_length(body: &Body) -> bool {
    !body.is_end_stream() && body.size_hint().exact().is_none()
}

/// Returns whether a frame is data without a byte. Trailers are not empty: they are sent in chunked framing.
fn is_empty(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(Bytes::is_empty)
}

/// Returns whether content may have a meaning. RFC 9110 9.3: in these methods it "has no generally defined semantics",
/// and for TRACE "A client MUST NOT send content".
fn expects_content(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS | Method::TRACE
    )
}

/// A body whose first frame has been taken out, and is yielded first.
struct Begun {
    /// The first frame, or the error in its place, until it is yielded.
    first: Option<Result<Frame<Bytes>, BoxError>>,
    /// What follows.
    rest: Body,
}

impl http_body::Body for Begun {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = match &self.first {
            // With this one frame the body is complete, so its length is known after all, and it need not be chunked.
            Some(Ok(frame)) if self.rest.is_end_stream() => frame.data_ref(),
            Some(_) => None,
            None => return self.rest.size_hint(),
        };
        first.map_or_else(SizeHint::default, |data| {
            SizeHint::with_exact(data.len() as u64)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::{Instant, sleep};

    use super::*;

    /// A request whose body has these frames, the first of them after `delay`.
    fn request(method: Method, delay: Duration, frames: &[&'static str]) -> Request<Body> {
        let frames: Vec<_> = frames
            .iter()
            .map(|data| Frame::data((*data).into()))
            .collect();
        let frames = stream::iter(frames).map(Ok::<_, Infallible>);
        let later = sleep(delay).map(|()| frames).flatten_stream();
        let body = Body::new(StreamBody::new(Box::pin(later)));
        let mut request = Request::new(body);
        *request.method_mut() = method;
        request
    }

    async fn settled(mut request: Request<Body>) -> Body {
        settle_body(&mut request).await;
        request.into_body()
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_comes_soon_is_waited_for() {
        let soon = FIRST_FRAME / 2;
        let start = Instant::now();
        let body = settled(request(Method::GET, soon, &[])).await;
        assert!(body.is_end_stream());
        assert!(start.elapsed() >= soon);

        let body = settled(request(Method::GET, soon, &["a", "b"])).await;
        assert!(is_of_unknown_length(&body));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
    }

    #[tokio::test(start_paused = true)]
    async fn both_sides_do_not_wait_for_one_another() {
        let start = Instant::now();
        let late = FIRST_FRAME * 2;
        let body = settled(request(Method::GET, late, &["a"])).await;
        assert!(start.elapsed() >= FIRST_FRAME && start.elapsed() < late);
        assert!(is_of_unknown_length(&body));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "a");

        let start = Instant::now();
        let body = settled(request(Method::POST, late, &["a"])).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "it may be a conversation");
        assert_eq!(body.collect().await.unwrap().to_bytes(), "a");
    }

    /// Nothing of it is lost, and an error is still one.
    #[tokio::test]
    async fn what_was_looked_at_comes_first() {
        let failing = stream::iter([Err::<Frame<Bytes>, _>(BoxError::from("broken"))]);
        let mut request = Request::new(Body::new(StreamBody::new(failing)));
        settle_body(&mut request).await;
        assert!(request.into_body().collect().await.is_err());
    }
}
