//! [`Body`], the request body that every endpoint's service receives, and its link to the exchange.
//!
//! One concrete type, because services over `Request<Body>` are stored beside each other in a cluster, and a balancer
//! that is generic over the request body would make every endpoint generic over it too.
//!
//! Besides its data, a body carries the [`Record`] of its exchange. That is how the proxy, the balancer, the endpoint's
//! client and a balancing policy share what they know without a parameter for it in every service's type, and how
//! layers of the user between them stay unaware of it. With each poll, the body writes to the record how far the upload
//! has come:
//!
//! - A frame of data that is not the last: [`UploadState::Held`], the endpoint's turn.
//! - Pending: [`UploadState::Wanted`], the client's turn. The time of the change is recorded, and no later poll moves
//!   it. Nothing is recorded while an endpoint has not answered an expectation, since it is the endpoint's turn then.
//! - The last frame, trailers or the end: [`UploadState::Done`].
//! - An error: [`UploadState::TooLarge`] or [`UploadState::Broken`].
//! - Dropped before its end: [`UploadState::Done`], since the endpoint wants no more of it.
//!
//! A request that is sent again has another body for each attempt. The latest of them writes alone: each has the
//! generation of its upload, and the record ignores those of earlier ones, which a connection may drop late.
//!
//! The body limits, checks and buffers nothing: `request.rs` and `gathered.rs` do, inside of it.

use std::{
    any::Any,
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full, LengthLimitError, combinators::UnsyncBoxBody};

use super::link::Link;
use crate::{
    error::{BoxError, Error},
    record::{ClientFacts, ExchangeGuard, OnSent, Record, UploadState},
};

/// The body of a request on its way to an endpoint: what a `tower::Service` that serves as an endpoint receives.
///
/// The inner body is boxed, so that services over `Request<Body>` have one type to name. An empty body costs no
/// allocation. Data is streamed: nothing is buffered here, and a frame is asked for only when the endpoint's connection
/// has room for it.
///
/// The body carries what the proxy knows of its exchange. A service between the proxy and the balancer that puts
/// another body in its place removes that, and with it the client's address that [`policy`](crate::policy) may hash by.
///
/// ```
/// use axum_upstream::Body;
/// use http_body::Body as _;
/// use http_body_util::Full;
///
/// // Any body of `Bytes` can be wrapped, and keeps its length.
/// let body = Body::new(Full::new("hello".into()));
/// assert_eq!(body.size_hint().exact(), Some(5));
/// ```
///
/// # Cancel safety
///
/// Dropping the body tells the exchange that no more of it is wanted. It does not cancel the exchange: the response is
/// still awaited.
#[derive(Default)]
pub struct Body {
    /// `None` is an empty body, which is also what remains of one that had ended when it was wrapped.
    inner: Option<UnsyncBoxBody<Bytes, BoxError>>,
    link: Link,
}

/// What `poll_frame` returns.
type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl Body {
    /// Returns a body without data, which is at its end. Does not allocate.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Wraps any body of `Bytes`.
    ///
    /// A value that is a `Body` already is returned as it is, with its link to the exchange. One that is at its end
    /// becomes [`Body::empty`]. Any other is boxed.
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

    /// Makes the body part of an exchange, whose record is told of its progress from now on. Replaces a record that the
    /// body had before.
    ///
    /// A body that is not empty sets the upload to [`UploadState::Held`]: it has not been asked for yet.
    pub(crate) fn with_record(mut self, record: Arc<Record>) -> Self {
        self.link.generation = match http_body::Body::is_end_stream(&self) {
            true => 0,
            false => record.begin_upload(UploadState::Held),
        };
        self.link.record = Some(record);
        self
    }

    /// Returns the record of the exchange that the body is part of. Makes a new one if there is none, as for a request
    /// that was sent through a balancer or a client without a proxy in front.
    pub(crate) fn record(&mut self) -> &Arc<Record> {
        if self.link.record.is_none() {
            *self = std::mem::take(self).with_record(Arc::default());
        }
        self.link.record.get_or_insert_default()
    }

    /// Returns the end of the exchange, if it begins here: if neither a proxy nor a balancer has received the request.
    pub(crate) fn begin_exchange(&mut self) -> Option<ExchangeGuard> {
        let begins = self.link.record.is_none();
        begins.then(|| ExchangeGuard::new(self.record().clone()))
    }

    /// Returns what is known of the client. Nothing is if no proxy has received the request.
    pub(crate) fn client(&self) -> ClientFacts {
        self.link
            .record
            .as_ref()
            .map(|record| *record.client())
            .unwrap_or_default()
    }

    /// Wraps the body in another one, which takes its place in the exchange: the progress of the outer body counts.
    ///
    /// `wrap` is given the bare body, without its link. If what it returns is at its end, an empty body takes its
    /// place.
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

    /// Returns an empty body that is part of the same exchange.
    ///
    /// Those that wait for the body to be sent are not carried over: they are notified when `self` ends or is dropped.
    pub(crate) fn empty_like(&self) -> Self {
        let Link {
            record,
            depth,
            attempt,
            ..
        } = &self.link;
        let link = Link {
            record: record.clone(),
            generation: 0,
            depth: *depth,
            attempt: *attempt,
            head: None,
            on_sent: None,
        };
        Self { inner: None, link }
    }

    /// Returns a body with this content that takes the place of `self` in the exchange: another upload begins with it,
    /// and the body of the one before records nothing any more.
    ///
    /// An upload of content that is at its end reads [`UploadState::None`], as that of a request without a body, any
    /// other [`UploadState::Held`]. Those that wait for `self` to be sent are not carried over.
    pub(crate) fn succeeded_by<B>(&self, content: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let mut body = Self {
            link: self.empty_like().into_link(),
            ..Self::new(content)
        };
        if let Some(record) = &body.link.record {
            let state = match body.inner.is_none() {
                true => UploadState::None,
                false => UploadState::Held,
            };
            body.link.generation = record.begin_upload(state);
        }
        body
    }

    /// Returns the bare body, without its link to the exchange, and those that wait for it to be sent.
    ///
    /// The progress of a bare body is not recorded, and its end notifies nobody.
    pub(crate) fn into_bare(mut self) -> (Self, Vec<Arc<dyn OnSent>>) {
        // Emptied, so that the drop of the link touches nothing.
        let mut link = std::mem::take(&mut self.link);
        link.record = None;
        let on_sent = link.on_sent.take().map(|on_sent| *on_sent);
        (self, on_sent.unwrap_or_default())
    }

    /// Returns the link alone.
    fn into_link(mut self) -> Link {
        std::mem::take(&mut self.link)
    }

    /// Returns the generation of the upload that this body is: see [`Record::begin_upload`].
    pub(crate) fn upload_generation(&self) -> u32 {
        self.link.generation
    }

    /// Returns the number of clusters that the request has passed.
    pub(crate) fn depth(&self) -> u8 {
        self.link.depth
    }

    /// Returns the index of the attempt that sends the body.
    pub(crate) fn attempt(&self) -> Option<usize> {
        self.link.attempt.map(|nth| nth as usize)
    }

    /// Makes the body part of the attempt at index `attempt`, for which the request has passed `depth` clusters.
    pub(crate) fn set_attempt(&mut self, attempt: usize, depth: u8) {
        self.link.attempt = u32::try_from(attempt).ok();
        self.link.depth = depth;
    }

    /// Returns a copy of the head of the request, as it came to the client that asks.
    pub(crate) fn head(&self) -> Option<&Arc<Request<()>>> {
        self.link.head.as_ref()
    }

    /// Lends the endpoint's client a copy of the head, which must be what the client gets: there must be no other
    /// service in between.
    pub(crate) fn lend_head(&mut self, head: Arc<Request<()>>) {
        self.link.head = Some(head);
    }

    /// Withdraws that copy, since the head has changed.
    pub(crate) fn keep_head(&mut self) {
        self.link.head = None;
    }

    /// Has `on_sent` notified once, when the body has been sent to its end or is dropped.
    ///
    /// A body that is empty notifies only when it is dropped: it is never polled.
    pub(crate) fn on_sent(&mut self, on_sent: Arc<dyn OnSent>) {
        let all = self.link.on_sent.get_or_insert_default();
        all.push(on_sent);
    }

    /// Returns what the result of a poll means for the upload, or `None` for a pending one.
    fn state(&self, polled: &Polled) -> Option<UploadState> {
        Some(match polled {
            Poll::Pending => return None,
            // hyper does not poll again once the body is at its end, so the last frame has to be recognised here.
            Poll::Ready(Some(Ok(frame))) if !frame.is_trailers() && !self.has_ended() => {
                UploadState::Held
            }
            Poll::Ready(Some(Ok(_)) | None) => UploadState::Done,
            Poll::Ready(Some(Err(error))) if is_too_large(&**error) => UploadState::TooLarge,
            Poll::Ready(Some(Err(_))) => UploadState::Broken,
        })
    }

    /// Returns whether no more frames will come.
    fn has_ended(&self) -> bool {
        self.inner
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }
}

/// Returns whether a body failed because it exceeded a limit: the proxy's own, or that of a layer in front, such as
/// tower-http's `RequestBodyLimit`.
///
/// The whole chain of sources is searched, since layers wrap the error of an inner body.
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
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.link.sent_data(frame.data_ref().map_or(0, Bytes::len));
        }
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

/// Does not copy the text.
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

    #[tokio::test]
    async fn a_body_that_was_succeeded_records_nothing() {
        let (record, mut first) = watched(streamed(vec![Ok("1"), Ok("2")]));
        first.set_attempt(0, 3);
        first.frame().await.unwrap().unwrap();
        let mut second = first.succeeded_by(streamed(vec![Ok("3")]));
        assert_eq!(
            (record.upload().state(), second.depth()),
            (UploadState::Held, 3)
        );
        while first.frame().await.is_some() {}
        drop(first);
        assert_eq!(record.upload().state(), UploadState::Held);
        while second.frame().await.is_some() {}
        assert_eq!(record.upload().state(), UploadState::Done);

        let none = second.succeeded_by(Body::empty());
        assert!(none.is_end_stream());
        assert_eq!(record.upload().state(), UploadState::None);
    }

    /// The record keeps following the upload of the exchange when an empty body of it goes.
    #[test]
    fn an_empty_body_records_nothing() {
        let (record, body) = watched(streamed(vec![Ok("1")]));
        drop(body.empty_like());
        assert_eq!(record.upload().state(), UploadState::Held);
    }

    #[test]
    fn a_bare_body_is_not_part_of_the_exchange() {
        let (record, body) = watched(streamed(vec![Ok("1")]));
        let (bare, on_sent) = body.into_bare();
        assert!(on_sent.is_empty() && bare.link.record.is_none());
        drop(bare);
        assert_eq!(record.upload().state(), UploadState::Held);
    }
}
