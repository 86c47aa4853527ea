//! One request, from its head to the last byte of its response.
//!
//! Limits the size of request heads over HTTP/2, counts exchanges in the connection's [`Activity`], and announces the
//! end of an HTTP/1 connection. hyper limits the heads of HTTP/1 itself.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, COOKIE, HOST},
};
use http_body::{Body, Frame, SizeHint};

use super::{
    activity::{Activity, Exchange},
    stream::{Turn, say},
};

/// The size that request heads may have, counted as HTTP/1 writes them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    /// The largest size in bytes, the request line included.
    pub(crate) bytes: usize,
    /// The largest number of fields.
    pub(crate) fields: usize,
}

impl HeadLimits {
    /// Returns the limit that h2 gets.
    ///
    /// h2 counts 32 bytes more for each field (RFC 9113 6.5.2). It answers a head that is larger than its limit, but
    /// closes the connection for one that is half as large again. So it gets twice our limit, and a head that is
    /// between the two costs its own stream only.
    pub(super) fn header_list_size(self) -> u32 {
        let size = self.bytes.saturating_add(self.fields.saturating_mul(32));
        u32::try_from(size.saturating_mul(2)).unwrap_or(u32::MAX)
    }

    /// Returns whether a head of HTTP/2 is within the limits.
    fn allow<B>(self, request: &Request<B>) -> bool {
        let uri = request.uri();
        let target = uri.path().len() + uri.query().map_or(0, |query| 1 + query.len());
        let line = request.method().as_str().len() + target + "  HTTP/1.1\r\n".len();
        let host = uri
            .authority()
            .map(|host| field(&HOST, host.as_str().len()));
        let (mut bytes, mut fields) = (line + host.unwrap_or(0), usize::from(host.is_some()));
        let mut cookies = false;
        for (name, value) in request.headers() {
            // "Cookie" may be split into any number of fields, which HTTP/1 has as one (RFC 9113 8.2.3).
            if name == COOKIE && std::mem::replace(&mut cookies, true) {
                bytes += "; ".len() + value.len();
            } else {
                bytes += field(name, value.len());
                fields += 1;
            }
        }
        bytes <= self.bytes && fields <= self.fields
    }
}

/// Returns the size of a field line with a value of this length.
fn field(name: &HeaderName, value: usize) -> usize {
    name.as_str().len() + ": ".len() + value + "\r\n".len()
}

/// Answers a request by `answer`, or with a 431 if its head is too large. Records the beginning and the end in the
/// connection's activity.
///
/// This is one future, in which the others are made: they are large, and each move of one is a copy.
pub(super) async fn exchange<B, D, F>(
    activity: Arc<Activity>,
    limits: HeadLimits,
    request: Request<B>,
    answer: impl FnOnce(Request<Upload<B>>) -> F,
) -> Result<Response<Tracked<D>>, Infallible>
where
    B: Body,
    D: Body + Default,
    F: Future<Output = Response<D>>,
{
    let exchange = Exchange::begin(activity);
    let version = request.version();
    let request = request.map(|body| Upload {
        // Most requests have no body.
        _exchange: (!body.is_end_stream()).then(|| exchange.begin_upload()),
        body,
    });
    // hyper has counted the head of an HTTP/1 request while it read it.
    let mut response = match version < Version::HTTP_2 || limits.allow(&request) {
        true => answer(request).await,
        false => too_large(),
    };
    let activity = exchange.activity();
    activity.answered();
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if activity.is_last() && version < Version::HTTP_2 && !switches {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response.map(|body| Tracked {
        body,
        _exchange: exchange,
    }))
}

/// Returns a 431.
fn too_large<B: Default>() -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

/// A request body that counts as an exchange until it is dropped.
pub(crate) struct Upload<B> {
    body: B,
    _exchange: Option<Exchange>,
}

impl<B: Body + Unpin> Body for Upload<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body that keeps its exchange in progress until it is dropped. It also says whose turn it is in a stream
/// of HTTP/2: see `stream.rs`.
pub(super) struct Tracked<B> {
    body: B,
    _exchange: Exchange,
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        say(match frame {
            Poll::Ready(Some(Ok(_))) => Turn::Client,
            _ => Turn::Server,
        });
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_counted_as_http1_writes_it() {
        let limits = |bytes, fields| HeadLimits { bytes, fields };
        let request = Request::get("http://a/b?c")
            .header("name", "12345")
            .header("cookie", "a=1")
            .header("name", "12345")
            .header("cookie", "b=2");
        let request = request.body(()).unwrap();
        let head =
            "GET /b?c HTTP/1.1\r\nhost: a\r\nname: 12345\r\nname: 12345\r\ncookie: a=1; b=2\r\n";
        assert!(limits(head.len(), 4).allow(&request));
        assert!(!limits(head.len() - 1, 4).allow(&request));
        assert!(!limits(head.len(), 3).allow(&request));
        assert_eq!(limits(1000, 10).header_list_size(), 2640);
    }
}
