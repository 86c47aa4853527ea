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
use crate::error::BoxError;

/// The response body of [`Client`](super::Client).
#[derive(Debug)]
pub struct ClientBody(Version);

#[derive(Debug)]
enum Version {
    Http1(Http1Body),
    #[cfg(feature = "http2")]
    Http2(Http2Body),
}

impl ClientBody {
    pub(super) fn http1(body: Http1Body) -> Self {
        Self(Version::Http1(body))
    }

    #[cfg(feature = "http2")]
    pub(super) fn http2(body: Http2Body) -> Self {
        Self(Version::Http2(body))
    }
}

impl http_body::Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Version::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            #[cfg(feature = "http2")]
            Version::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Version::Http1(body) => body.is_end_stream(),
            #[cfg(feature = "http2")]
            Version::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Version::Http1(body) => body.size_hint(),
            #[cfg(feature = "http2")]
            Version::Http2(body) => body.size_hint(),
        }
    }
}
