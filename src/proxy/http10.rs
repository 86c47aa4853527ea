//! What a client of HTTP/1.0 is told of its connection.

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;

use crate::rewrite::tokens;

/// What decides about the connection of the client, taken from its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Http10 {
    is_http10: bool,
    is_head: bool,
}

impl Http10 {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self {
            is_http10: request.version() == Version::HTTP_10,
            is_head: request.method() == Method::HEAD,
        }
    }

    /// Closes the connection of such a client after a body whose end it could not see otherwise.
    ///
    /// RFC 9112 6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding request
    /// indicates HTTP/1.1", so a body of unknown length ends with the connection. hyper does end it, but says
    /// `Connection: keep-alive` to each client of HTTP/1.0 that has asked for it, unless the response is of HTTP/1.0
    /// itself: so the version is what decides.
    pub(super) fn settle(self, response: &mut Response<Body>) {
        if self.is_http10 && (says_close(response) || !self.shows_its_end(response)) {
            *response.version_mut() = Version::HTTP_10;
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }

    fn shows_its_end(self, response: &Response<Body>) -> bool {
        let status = response.status();
        self.is_head
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED
            || response.headers().contains_key(header::CONTENT_LENGTH)
            || response.body().is_end_stream()
            || response.body().size_hint().exact().is_some()
    }
}

fn says_close(response: &Response<Body>) -> bool {
    tokens(response.headers(), &header::CONNECTION).any(|it| it.eq_ignore_ascii_case(b"close"))
}
