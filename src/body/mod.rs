//! Bodies: the one request body type endpoints see, and wrappers that hold, watch or limit another body.
//!
//! Every wrapper forwards `poll_frame`, `is_end_stream` and `size_hint`; a wrapper that hid one would change framing.
//!
//! ```
//! use axum_upstream::Body;
//! use http_body::Body as _;
//!
//! let body = Body::from("hello");
//! assert_eq!(body.size_hint().exact(), Some(5));
//! assert!(Body::empty().is_end_stream());
//! ```

mod guarded;
mod progress;
mod request;
mod response;
mod trailers;

use std::{
    any::Any,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Release},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};

use crate::{error::BoxError, info::Tracker};

pub(crate) use self::{
    guarded::Guarded,
    progress::{Progress, Upload},
    request::RequestBody,
    response::{Deadlines, ResponseBody},
    trailers::Trailers,
};

/// The body of a request on its way to an endpoint.
///
/// Boxed, so that services over `Request<Body>` have one type to name; an empty body costs no allocation.
#[derive(Default)]
pub struct Body {
    inner: Option<UnsyncBoxBody<Bytes, BoxError>>,
    sent: Option<Sent>,
    tracker: Option<Tracker>,
}

impl Body {
    /// A body with nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Wraps any body. One that is already a `Body` is taken as it is, an ended one becomes [`Body::empty`].
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
            Some(body) if !body.is_end_stream() => Self {
                inner: Some(body.map_err(Into::into).boxed_unsync()),
                ..Self::default()
            },
            _ => Self::empty(),
        }
    }

    /// A flag that rises when this body has ended, failed, or been dropped.
    pub(crate) fn track(&mut self) -> Arc<AtomicBool> {
        let flag = Arc::new(AtomicBool::new(self.inner.is_none()));
        self.sent = Some(Sent(flag.clone()));
        flag
    }

    pub(crate) fn with_tracker(mut self, tracker: Tracker) -> Self {
        self.tracker = Some(tracker);
        self
    }

    pub(crate) fn tracker(&self) -> Option<&Tracker> {
        self.tracker.as_ref()
    }

    /// Tells whoever waits for the response which endpoint it will come from.
    pub(crate) fn note_endpoint(&self, endpoint: &Arc<str>) {
        if let Some(tracker) = &self.tracker {
            tracker.note(endpoint);
        }
    }
}

/// Raises its flag when dropped.
struct Sent(Arc<AtomicBool>);

impl Drop for Sent {
    fn drop(&mut self) {
        self.0.store(true, Release);
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if self.sent.is_some() && (!matches!(frame, Some(Ok(_))) || self.is_end_stream()) {
            self.sent = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
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
    use super::*;
    use http_body::Body as _;

    #[test]
    fn wrapping_twice_boxes_once() {
        let body = Body::new(Body::from("abc"));
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(Body::new(Body::empty()).inner.is_none());
        assert!(Body::new(Full::new(Bytes::new())).inner.is_none());
    }
}
