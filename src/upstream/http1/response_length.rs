//! How the end of a response body is found.

use std::str;

use http::{Method, Response, Version, header};

use super::error::Http1Error;
use crate::rewrite::tokens;

/// How the end of a response body is found (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseLength {
    /// By the number of bytes, which may be 0.
    Exact(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// Which of the fields that matter for framing and reuse are in a head. They are looked up only if they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FramingFields {
    pub(super) connection: bool,
    pub(super) content_length: bool,
    pub(super) transfer_encoding: bool,
}

/// Returns how the end of a body is found, by the rules of RFC 9112 6.3 in their order.
pub(super) fn length(
    response: &Response<()>,
    method: &Method,
    said: FramingFields,
) -> Result<ResponseLength, Http1Error> {
    let headers = response.headers();
    match response.status().as_u16() {
        100..=199 | 204 | 304 => return Ok(ResponseLength::Exact(0)),
        _ if method == Method::HEAD => return Ok(ResponseLength::Exact(0)),
        _ => {}
    }
    if said.transfer_encoding {
        // RFC 9112 6.1: "A server MUST NOT send a response containing Transfer-Encoding" to be read as HTTP/1.0.
        if response.version() == Version::HTTP_10 {
            return Err(Http1Error::Framing(
                "Transfer-Encoding in an HTTP/1.0 response",
            ));
        }
        let last = tokens(headers, &header::TRANSFER_ENCODING).last();
        let is_chunked = last.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        return Ok(match is_chunked {
            true => ResponseLength::Chunked,
            false => ResponseLength::UntilClose,
        });
    }
    if !said.content_length {
        return Ok(ResponseLength::UntilClose);
    }
    let mut lengths = tokens(headers, &header::CONTENT_LENGTH).map(decimal);
    let Some(first) = lengths.next() else {
        return Ok(ResponseLength::UntilClose);
    };
    match first {
        Some(length) if lengths.all(|other| other == first) => Ok(ResponseLength::Exact(length)),
        _ => Err(Http1Error::Framing(
            "invalid Content-Length in the response",
        )),
    }
}

/// Parses a number of digits alone. `None` if it is not one, or too large.
fn decimal(digits: &[u8]) -> Option<u64> {
    // `parse` would allow a sign.
    let is_number = digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}
