//! How an HTTP/1.0 client is told where a response ends.
//!
//! An HTTP/1.0 client knows no chunks, so a body whose length is unknown ends when its connection closes (RFC 9112
//! 6.3). hyper frames such a response correctly, but does not announce the end to a client that asked for `keep-alive`.
//! [`Http10`] takes what is needed from the request, and settles each response with it, those for errors included.
//!
//! Responses to HTTP/1.1 and HTTP/2 are left as they are.

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;

use crate::rewrite::tokens;

/// What decides about the client's connection, taken from its request, since the request is gone when the response is
/// there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Http10 {
    /// Whether the client speaks HTTP/1.0. Nothing is done for any other.
    is_http10: bool,
    /// Whether the method is HEAD, whose response never has a body.
    is_head: bool,
}

impl Http10 {
    /// Takes what is needed from a request.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self {
            is_http10: request.version() == Version::HTTP_10,
            is_head: request.method() == Method::HEAD,
        }
    }

    /// Makes the connection of an HTTP/1.0 client close after a body whose end it could not see otherwise, or after a
    /// response that says `Connection: close`.
    ///
    /// RFC 9112 6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding request
    /// indicates HTTP/1.1 (or later minor revisions)", so a body of unknown length ends with the connection. hyper does
    /// close it, but says `Connection: keep-alive` to each HTTP/1.0 client that has asked for it, unless the response
    /// is of HTTP/1.0 itself. The version of the response is therefore what decides, and is set here.
    pub(super) fn settle(self, response: &mut Response<Body>) {
        if self.is_http10 && (says_close(response) || !self.shows_its_end(response)) {
            *response.version_mut() = Version::HTTP_10;
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }

    /// Returns whether the client can see where the response ends: by its status, by the request's method, or by a
    /// length.
    ///
    /// The rules are those of RFC 9112 6.3 for messages without a transfer coding.
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

/// Returns whether the response asks for its connection to be closed, as those to malformed requests do.
fn says_close(response: &Response<Body>) -> bool {
    tokens(response.headers(), &header::CONNECTION).any(|it| it.eq_ignore_ascii_case(b"close"))
}
