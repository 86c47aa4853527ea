//! The response body of a [`Client`](super::Client), whatever its version.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::http1::Http1Body;
#[cfg(feature = "http2")]
use super::http2::Http2Body;
use crate::{body::GuardedBody, error::BoxError, record::AttemptGuard};

/// The response body of [`Client`](super::Client).
#[derive(Debug)]
pub struct ClientBody(GuardedBody<VersionBody, Option<AttemptGuard>>);

/// A response body as it comes over one version.
#[derive(Debug)]
pub(super) enum VersionBody {
    Http1(Http1Body),
    #[cfg(feature = "http2")]
    Http2(Http2Body),
}

impl ClientBody {
    /// `attempt` is the client's own, where no balancer stands above it.
    pub(super) fn new(body: VersionBody, attempt: Option<AttemptGuard>, hold: bool) -> Self {
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
