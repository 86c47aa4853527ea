//! The response body of a [`Client`](super::Client), for both versions of HTTP.
//!
//! From the inside out: [`VersionBody`] is what the connection yields; [`ClientBody`] around it records how the attempt
//! ended, if the client is used without a balancer. What a drop does to the connection is in the module of each
//! version.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tracing::span::EnteredSpan;

use super::http1::Http1Body;
#[cfg(feature = "http2")]
use super::http2::Http2Body;
use crate::{
    body::{Guard, GuardedBody},
    error::{BoxError, Error, ErrorKind},
    record::{ResponseClass, class_of_grpc_status},
    telemetry::MeasuredAttempt,
};

/// The response body of [`Client`](super::Client). Yields data and trailers as the endpoint sends them.
///
/// A reader that pauses slows the endpoint down: about 256 KiB are read ahead over HTTP/1, and the window of the stream
/// over HTTP/2. There is no deadline.
///
/// # Errors
///
/// The connection has failed, or what was received violates HTTP or a limit. The response is then incomplete.
///
/// # Cancel safety
///
/// Dropping it before its end cancels the exchange: an HTTP/1 connection closes, an HTTP/2 stream is reset. Read it to
/// its end to have the connection reused.
#[derive(Debug)]
pub struct ClientBody(GuardedBody<VersionBody, Option<MeasuredAttempt>>);

/// A response body as it is received over one version of HTTP.
#[derive(Debug)]
pub(super) enum VersionBody {
    /// Drives its connection.
    Http1(Http1Body),
    /// Is fed by the connection's tasks.
    #[cfg(feature = "http2")]
    Http2(Http2Body),
}

impl ClientBody {
    /// Wraps the body of a response.
    ///
    /// `attempt` is the client's own, or `None` if a balancer in front has begun the attempt. `hold` keeps the attempt
    /// open although the body is empty, as for a 101.
    pub(super) fn new(body: VersionBody, attempt: Option<MeasuredAttempt>, hold: bool) -> Self {
        Self(GuardedBody::new(body, attempt, hold))
    }
}

impl http_body::Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The guard of a response whose attempt no balancer counts: a [`Client`](crate::upstream::Client) that is used on its
/// own. `None` where a balancer in front has a guard of its own around this body.
impl<E> Guard<E> for Option<MeasuredAttempt> {
    fn enter(&self) -> Option<EnteredSpan> {
        self.as_ref().and_then(|attempt| attempt.enter())
    }

    fn complete(self) {
        if let Some(attempt) = self {
            attempt.answered(ResponseClass::Success);
        }
    }

    fn data(&mut self, bytes: usize) {
        if let Some(attempt) = self {
            attempt.receive(bytes);
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        let class = class_of_grpc_status(trailers).filter(|class| class.is_failure());
        if let (Some(attempt), Some(class)) = (self, class) {
            attempt.answered(class);
        }
    }

    /// Whatever the error is, the head had been received, so the endpoint broke off its body. The record decides
    /// whether the client was to blame.
    fn failed(self, _: &E) {
        if let Some(attempt) = self {
            attempt.failed(&Error::new(ErrorKind::ResponseBody));
        }
    }
}

impl http_body::Body for VersionBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            #[cfg(feature = "http2")]
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            #[cfg(feature = "http2")]
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            #[cfg(feature = "http2")]
            Self::Http2(body) => body.size_hint(),
        }
    }
}
