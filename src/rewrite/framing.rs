//! How a message is framed, and which of its fields say so.

use http::{HeaderMap, HeaderValue, Method, header};

use super::{
    fields::{Fields, Seen},
    list::{check_names, tokens},
};
use crate::error::{Error, ErrorKind};

/// RFC 9112 6.3: where both are received, `Transfer-Encoding` overrides `Content-Length`, and an intermediary "MUST
/// first remove the received Content-Length field" before it forwards the message.
///
/// The HTTP library has undone `chunked` by now, and nothing undoes any other coding: to send on what is left of
/// `gzip, chunked` would be to lose the `gzip`. RFC 9112 6.1: "A server that receives a request message with a transfer
/// coding it does not understand SHOULD respond with 501".
///
/// `Trailer` may have up to `max_trailers` names.
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

/// RFC 9112 6.3: a list of one and the same length is replaced by that length, or refused.
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

/// Whether a request is a gRPC call: its protocol lives on trailers, and its clients read no text. Its method is
/// always POST ("gRPC over HTTP2", Requests).
pub(crate) fn is_grpc(method: &Method, headers: &HeaderMap) -> bool {
    let content_type = || headers.get(header::CONTENT_TYPE);
    method == Method::POST
        && content_type().is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// True when `TE` says `trailers`: the client can take them.
pub(super) fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TE)
        && tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// Puts `TE: trailers` back, the only member that says something about more than one connection (go#21096).
pub(super) fn set_te_trailers(headers: &mut HeaderMap) {
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
}
