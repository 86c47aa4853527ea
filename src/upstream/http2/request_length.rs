//! The length of a request, which a layer may have changed since its head was written.

use http::{Request, header};

use crate::body::Body;

/// Makes `Content-Length` agree with the body, which a layer may have read or replaced since the head was written.
///
/// Over HTTP/1 the body alone decides (`http1/request_head.rs`). Over HTTP/2 a request whose length is not what it says
/// is malformed (RFC 9113 8.1.1).
pub(in crate::upstream) fn settle_length(request: &mut Request<Body>) {
    let length = http_body::Body::size_hint(request.body()).exact();
    let said = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match length {
        Some(length) if said == Some(length) => {}
        Some(length) => drop(
            request
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length.into()),
        ),
        None => drop(request.headers_mut().remove(header::CONTENT_LENGTH)),
    }
}
