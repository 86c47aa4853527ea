//! Recognizes authentication that applies to a connection instead of a request.
//!
//! NTLM takes three exchanges on one connection, and from then on every request on that connection is its user's;
//! Negotiate may work likewise (RFC 4559). RFC 9110 11 defines authentication for single requests only, so a proxy that
//! shares connections would let one client act as another.
//!
//! A connection on which such a scheme appears, in a request's `Authorization` or in a 401's `WWW-Authenticate`, is
//! therefore left to one client connection: it idles apart from the others, for 15 s at most, and only requests from
//! the same client connection are sent on it (`Http1::belongs_to`, `pool/shelf.rs`). Where the client's connection is
//! unknown, it is not reused.
//!
//! HTTP/2 connections are not covered. A server that needs such a scheme asks for HTTP/1.1 (HTTP_1_1_REQUIRED), which
//! `resend.rs` obeys.

use http::{HeaderMap, StatusCode, header};

use crate::rewrite::tokens;

/// Returns whether a request carries credentials that the endpoint may apply to the connection.
pub(super) fn authenticates_connection(headers: &HeaderMap) -> bool {
    tokens(headers, &header::AUTHORIZATION).any(is_for_connection)
}

/// Returns whether a response asks for credentials that would apply to the connection.
pub(super) fn asks_for_connection(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::UNAUTHORIZED
        && tokens(headers, &header::WWW_AUTHENTICATE).any(is_for_connection)
}

/// Returns whether a member of a list of challenges or credentials names a scheme that applies to connections.
///
/// RFC 9110 11.6.1: a member may be a challenge, `Negotiate YII=`, or a parameter of the challenge before it. A
/// parameter mistaken for a challenge costs the reuse of a connection, and nothing else. Schemes are case-insensitive
/// (11.1).
fn is_for_connection(member: &[u8]) -> bool {
    let scheme = member
        .split(|byte| *byte == b' ')
        .next()
        .unwrap_or_default();
    [&b"ntlm"[..], b"negotiate", b"nego2"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asks(lines: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(line));
        }
        asks_for_connection(StatusCode::UNAUTHORIZED, &headers)
    }

    #[test]
    fn schemes_are_found_wherever_they_stand() {
        assert!(asks(&["NTLM"]));
        assert!(asks(&["negotiate YIIabc="]));
        assert!(asks(&["Basic realm=\"a\"", "Negotiate"]));
        assert!(asks(&["Basic realm=\"a, b\", NTLM TlRMTVNT"]));
        assert!(!asks(&["Basic realm=\"NTLM\"", "Bearer"]));
        assert!(!asks(&["NTLMv2"]));
        assert!(!asks(&[]));
    }
}
