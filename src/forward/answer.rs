//! The answers that the proxy gives itself to OPTIONS and TRACE with `Max-Forwards: 0`.
//!
//! Such a request ends here. RFC 9110 7.6.2: "If the received value is zero (0), the intermediary MUST NOT forward the
//! request; instead, the intermediary MUST respond as the final recipient." Whether a request is of this kind is
//! decided in `rewrite/via.rs`, before hop-by-hop fields have been removed.
//!
//! No hook sees these requests or their responses, and no attempt is recorded for them.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};

use crate::{body::Body, rewrite::is_sensitive};

/// Answers TRACE with the request head, and OPTIONS with an empty 200.
///
/// The answer to OPTIONS has no `Allow`: which methods are allowed is known by the endpoint, which is not asked. It has
/// `Content-Length: 0`, as RFC 9110 9.3.7 demands of a response without content.
pub(super) fn answer(parts: &Parts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    if parts.method == Method::TRACE {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("message/http"),
        );
        *response.body_mut() = Bytes::from(reflect(parts)).into();
    } else {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

/// Returns the request head as text: the content of a TRACE response, of the type `message/http` (RFC 9112 10.1).
///
/// The head is that which was received, except that the host of an absolute target is in `Host`. RFC 9110 9.3.8: fields
/// that are likely to contain sensitive data are left out.
fn reflect(parts: &Parts) -> Vec<u8> {
    let mut text = format!("TRACE {} {:?}\r\n", parts.uri, parts.version).into_bytes();
    for (name, value) in parts
        .headers
        .iter()
        .filter(|(name, _)| !is_sensitive(name.as_str()))
    {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}
