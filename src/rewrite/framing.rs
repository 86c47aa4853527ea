//! The fields that frame a message: `Transfer-Encoding`, `Content-Length` and `Trailer`; and `TE`.
//!
//! A head leaves here with at most one statement about the length of its body, because two that contradict each other
//! are how requests are smuggled: the proxy would believe one and the endpoint the other. The body itself has been
//! taken out of its framing by the server's HTTP library, and `upstream/` frames it anew.

use http::{HeaderMap, HeaderValue, Method, header};

use super::{
    fields::{Fields, Seen},
    list::{check_names, tokens},
};
use crate::error::{Error, ErrorKind};

/// Leaves a head with one framing, and checks that it is one the proxy can forward.
///
/// RFC 9112 6.3: `Transfer-Encoding` overrides `Content-Length`, and an intermediary that forwards a message with both
/// "MUST first remove the received Content-Length field". `Transfer-Encoding` itself is removed later, as a hop-by-hop
/// field.
///
/// A coding other than `chunked` alone is refused. The HTTP library has undone `chunked`, and nothing undoes any other
/// coding: to forward the rest of `gzip, chunked` without the field would be to lose the `gzip`. RFC 9112 6.1: "A
/// server that receives a request message with a transfer coding it does not understand SHOULD respond with 501".
///
/// `max_trailers` is the number of names that `Trailer` may have.
///
/// # Errors
///
/// Returns a 501 for an unknown transfer coding, and a 400 for too many names in `Trailer` or for lengths that differ.
/// The caller turns them into a 502 for a response.
pub(super) fn strip(headers: &mut HeaderMap, seen: Seen, max_trailers: usize) -> Result<(), Error> {
    if seen.any(Fields::TRANSFER_ENCODING) {
        let mut codings = tokens(headers, &header::TRANSFER_ENCODING);
        let chunked = codings
            .next()
            .is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if !chunked || codings.next().is_some() {
            return Err(Error::new(ErrorKind::TransferCoding));
        }
        drop(codings);
        headers.remove(header::CONTENT_LENGTH);
    }
    if seen.any(Fields::TRAILER) {
        check_names(
            headers,
            &header::TRAILER,
            max_trailers,
            "too many names in Trailer",
        )?;
    }
    if seen.any(Fields::CONTENT_LENGTH) {
        one_length(headers)
    } else {
        Ok(())
    }
}

/// Replaces several statements of one and the same `Content-Length` by a single one.
///
/// RFC 9112 6.3 allows this if "all values in the list are valid, and all values in the list are the same", and
/// otherwise requires the message to be refused. Whether the value is a number is left to the HTTP libraries on both
/// sides.
///
/// # Errors
///
/// Returns a 400 if the lengths differ.
fn one_length(headers: &mut HeaderMap) -> Result<(), Error> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).into_iter();
    match (lines.next(), lines.next()) {
        (None, _) => return Ok(()),
        (Some(only), None) if !only.as_bytes().contains(&b',') => return Ok(()),
        _ => {}
    }
    let mut lengths = tokens(headers, &header::CONTENT_LENGTH);
    let first = lengths.next().unwrap_or_default();
    if lengths.any(|length| length != first) {
        return Err(Error::bad_request("more than one Content-Length"));
    }
    let one =
        HeaderValue::from_bytes(first).map_err(|_| Error::bad_request("invalid Content-Length"))?;
    drop(lengths);
    headers.insert(header::CONTENT_LENGTH, one);
    Ok(())
}

/// Returns whether a request is a gRPC call. Its protocol depends on trailers, and its clients cannot read a response
/// in text.
///
/// The method is always POST, and the content type begins with `application/grpc` ("gRPC over HTTP2", Requests).
pub(crate) fn is_grpc(method: &Method, headers: &HeaderMap) -> bool {
    let content_type = || headers.get(header::CONTENT_TYPE);
    method == Method::POST
        && content_type().is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Returns whether `TE` contains `trailers`: the client accepts trailers in the response (RFC 9110 10.1.4).
pub(super) fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TE)
        && tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// Puts `TE: trailers` back after the field has been stripped as a hop-by-hop field.
///
/// The other members of `TE` refer to transfer codings on this connection. `trailers` refers to the whole way, and gRPC
/// requires it in every request, to detect proxies that drop trailers (go#21096).
pub(super) fn set_te_trailers(headers: &mut HeaderMap) {
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
}
