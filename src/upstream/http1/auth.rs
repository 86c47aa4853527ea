//! Authentication that holds for a connection, and not for a request.
//!
//! NTLM takes three exchanges on one connection, and from then on every request on that connection is its user's; so it
//! may be with Negotiate (RFC 4559). RFC 9110 11 has authentication for single requests only, and a proxy that shares
//! connections would answer one client as another.

use http::{HeaderMap, StatusCode, header};

use crate::rewrite::tokens;

/// Whether a request carries credentials that may be taken for its connection's.
pub(super) fn authenticates_connection(headers: &HeaderMap) -> bool {
    tokens(headers, &header::AUTHORIZATION).any(is_for_connection)
}

/// Whether a response asks for credentials that would be its connection's.
pub(super) fn asks_for_connection(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::UNAUTHORIZED
        && tokens(headers, &header::WWW_AUTHENTICATE).any(is_for_connection)
}

/// A member may be a challenge, `Negotiate YII=`, or a parameter of the one before it. Taking a parameter for a
/// challenge costs a connection, and no more.
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
