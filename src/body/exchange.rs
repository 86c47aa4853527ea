//! The body of a request on its way to an endpoint.

use std::{
    any::Any,
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full, LengthLimitError, combinators::UnsyncBoxBody};

use crate::{
    error::{BoxError, Error},
    record::{ClientFacts, OnSent, Record, UploadState},
};

/// The body of a request on its way to an endpoint.
///
/// Boxed, so that services over `Request<Body>` have one type to name; an empty body costs no allocation.
///
/// It carries what the proxy knows of its exchange: a service between the proxy and the balancer that puts another body
/// in its place takes that away, and with it the client's address that [`policy`](crate::policy) may hash by.
#[derive(Default)]
pub struct Body {
    inner: Option<UnsyncBoxBody<Bytes, BoxError>>,
    link: Link,
}

/// What ties a body to its exchange.
#[derive(Default)]
struct Link {
    record: Option<Arc<Record>>,
    /// How many clusters the request has passed on its way to this endpoint.
    depth: u8,
    on_sent: Vec<Arc<dyn OnSent>>,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl Body {
    /// A body with nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Wraps any body. One that is already a `Body` is taken as it is, one that has ended becomes [`Body::empty`].
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut body = Some(body);
        if let Some(own) = (&mut body as &mut dyn Any).downcast_mut::<Option<Self>>() {
            return own.take().unwrap_or_default();
        }
        match body {
            Some(body) if !body.is_end_stream() => {
                let inner = Some(body.map_err(Into::into).boxed_unsync());
                Self {
                    inner,
                    ..Self::default()
                }
            }
            _ => Self::empty(),
        }
    }

    /// Makes the body part of an exchange, which is told of its progress.
    pub(crate) fn with_record(mut self, record: Arc<Record>) -> Self {
        if !http_body::Body::is_end_stream(&self) {
            record.upload().begin();
        }
        self.link.record = Some(record);
        self
    }

    /// The exchange that the body is part of; a new one if there was none.
    pub(crate) fn record(&mut self) -> &Arc<Record> {
        if self.link.record.is_none() {
            *self = std::mem::take(self).with_record(Arc::default());
        }
        self.link.record.get_or_insert_default()
    }

    /// What is known of the client; nothing if no proxy stands in front.
    pub(crate) fn client(&self) -> ClientFacts {
        self.link
            .record
            .as_ref()
            .map(|record| *record.client())
            .unwrap_or_default()
    }

    /// Wraps the body in another, which is part of the same exchange.
    pub(crate) fn wrap<B>(mut self, wrap: impl FnOnce(Self) -> B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let link = std::mem::take(&mut self.link);
        Self {
            link,
            ..Self::new(wrap(self))
        }
    }

    /// An empty body that is part of the same exchange.
    pub(crate) fn empty_like(&self) -> Self {
        let Link { record, depth, .. } = &self.link;
        let link = Link {
            record: record.clone(),
            depth: *depth,
            on_sent: Vec::new(),
        };
        Self { inner: None, link }
    }

    /// How many clusters the request has passed.
    pub(crate) fn depth(&self) -> u8 {
        self.link.depth
    }

    /// Sets how many clusters the request has passed.
    pub(crate) fn set_depth(&mut self, depth: u8) {
        self.link.depth = depth;
    }

    /// Has `on_sent` told when the body has been sent.
    pub(crate) fn on_sent(&mut self, on_sent: Arc<dyn OnSent>) {
        self.link.on_sent.push(on_sent);
    }

    /// What a poll says of the upload; `None` if nothing new.
    fn state(&self, polled: &Polled) -> Option<UploadState> {
        Some(match polled {
            Poll::Pending => return None,
            Poll::Ready(Some(Ok(frame))) if !frame.is_trailers() && !self.has_ended() => {
                UploadState::Held
            }
            Poll::Ready(Some(Ok(_)) | None) => UploadState::Done,
            Poll::Ready(Some(Err(error))) if is_too_large(&**error) => UploadState::TooLarge,
            Poll::Ready(Some(Err(_))) => UploadState::Broken,
        })
    }

    fn has_ended(&self) -> bool {
        self.inner
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }
}

impl Link {
    /// Tells the exchange that the body has moved to `state`, or that more of it is waited for.
    fn note(&mut self, state: Option<UploadState>) {
        let Some(record) = &self.record else { return };
        match state {
            Some(state) => record.touch_upload(state),
            // The client's time runs from the moment when more is wanted of it.
            None if record.upload().state() == UploadState::Held => {
                record.touch_upload(UploadState::Wanted);
            }
            None => {}
        }
        if state == Some(UploadState::Done) {
            self.sent();
        }
    }

    fn sent(&mut self) {
        self.on_sent.drain(..).for_each(|on_sent| on_sent.sent());
    }
}

impl Drop for Link {
    /// An endpoint that drops the body early wants no more of it: from then on only its response is waited for.
    fn drop(&mut self) {
        if let Some(record) = self
            .record
            .as_ref()
            .filter(|record| record.upload().is_under_way())
        {
            record.touch_upload(UploadState::Done);
        }
        self.sent();
    }
}

/// Whether a body failed because it was longer than some limit allowed: the proxy's, or that of a layer in front.
pub(super) fn is_too_large(error: &(dyn StdError + 'static)) -> bool {
    error.is::<LengthLimitError>()
        || error
            .downcast_ref::<Error>()
            .is_some_and(Error::is_body_too_large)
        || error.source().is_some_and(is_too_large)
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Some(body) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        let state = self.state(&polled);
        self.link.note(state);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        let exact = || SizeHint::with_exact(0);
        self.inner
            .as_ref()
            .map_or_else(exact, http_body::Body::size_hint)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("empty", &self.inner.is_none())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body::Body as _;
    use http_body_util::{Limited, StreamBody};

    use super::*;

    fn watched(body: Body) -> (Arc<Record>, Body) {
        let record = Arc::<Record>::default();
        (record.clone(), body.with_record(record))
    }

    fn streamed(frames: Vec<Result<&'static str, BoxError>>) -> Body {
        let frames = frames
            .into_iter()
            .map(|frame| frame.map(|data| Frame::data(data.into())));
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    #[test]
    fn wrapping_twice_boxes_once() {
        let body = Body::new(Body::from("abc"));
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(Body::new(Body::empty()).inner.is_none());
        assert!(Body::new(Full::new(Bytes::new())).inner.is_none());
    }

    #[tokio::test]
    async fn the_record_follows_a_body_to_its_end() {
        let (record, mut body) = watched(streamed(vec![Ok("1"), Ok("2")]));
        let state = || record.upload().state();
        assert_eq!(state(), UploadState::Held);
        body.frame().await.unwrap().unwrap();
        assert_eq!(state(), UploadState::Held);
        body.frame().await.unwrap().unwrap();
        assert!(body.frame().await.is_none());
        assert_eq!(state(), UploadState::Done);
        assert_eq!(watched(Body::empty()).0.upload().state(), UploadState::None);
    }

    #[tokio::test]
    async fn a_body_that_is_waited_for_is_wanted() {
        let (record, mut body) = watched(Body::new(StreamBody::new(stream::pending::<
            Result<Frame<Bytes>, BoxError>,
        >())));
        assert!(futures_util::poll!(body.frame()).is_pending());
        assert_eq!(record.upload().state(), UploadState::Wanted);
    }

    #[tokio::test]
    async fn a_body_fails_by_being_broken_or_too_large() {
        let (record, mut body) = watched(streamed(vec![Err("reset".into())]));
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(record.upload().state(), UploadState::Broken);

        let (record, mut body) = watched(Body::new(Limited::new(streamed(vec![Ok("123456")]), 5)));
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(record.upload().state(), UploadState::TooLarge);
    }

    #[test]
    fn a_body_dropped_half_way_is_done() {
        let (record, body) = watched(streamed(vec![Ok("1")]));
        drop(body);
        assert_eq!(record.upload().state(), UploadState::Done);
    }
}
