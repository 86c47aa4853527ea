//! The answer of the final recipient that `Max-Forwards: 0` makes of a proxy, RFC 9110 7.6.2.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};

use crate::{body::Body, rewrite::is_sensitive};

/// Answers TRACE with the head as it came, and OPTIONS with nothing.
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

/// The head as it came. RFC 9110 9.3.8: fields that are likely to hold sensitive data are left out.
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
