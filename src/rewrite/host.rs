//! `Host`: exactly one, valid, and the same for routing, for the endpoint and for the forwarding fields.
//!
//! A request can name its host in the target and in the `Host` field. A proxy that routes by one and forwards the other
//! lets a client reach a site that it was not checked for, so [`settle`] makes both agree before anything else reads
//! them.
//!
//! The `Host` that the endpoint sees is decided by [`HostPolicy`]. For the default the endpoint must be known, which it
//! is only after balancing; until then the client's value stays on the head and is marked by [`lend`].

use std::fmt;

use http::{HeaderMap, HeaderValue, Version, header, request::Parts, uri::Authority};

use super::fields::Seen;
use crate::error::Error;

/// What the endpoint sees as `Host`, or as `:authority` over HTTP/2.
///
/// Set by [`ReverseProxy::host`](crate::ReverseProxy::host). A value that a request hook sets takes precedence.
/// `X-Forwarded-Host` carries the host that the client asked for in any case.
///
/// ```
/// use axum_upstream::{ReverseProxy, rewrite::HostPolicy};
/// use http::HeaderValue;
///
/// let host = HostPolicy::Fixed(HeaderValue::from_static("app.internal"));
/// let proxy = ReverseProxy::to("http://127.0.0.1:5000")?.host(host);
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPolicy {
    /// The authority of the endpoint's URL, port included; `localhost` for a Unix socket. This is the default.
    ///
    /// An endpoint that is a service in this process has no authority, and sees what the client asked for.
    #[default]
    Endpoint,
    /// What the client asked for.
    Preserve,
    /// A fixed value, which is sent as it is: a host and, if needed, a port.
    ///
    /// Over HTTP/2 it becomes `:authority` and has to be a valid one; every request is answered with a 400 otherwise.
    Fixed(HeaderValue),
}

impl fmt::Display for HostPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint => f.write_str("endpoint"),
            Self::Preserve => f.write_str("preserve"),
            Self::Fixed(host) => write!(f, "{host:?}"),
        }
    }
}

/// Marks the client's `Host` as a placeholder, which the endpoint's client replaces by the endpoint's own.
///
/// The value stays on the head because an endpoint that is a service in this process, such as an axum router, sees no
/// other, and needs one.
///
/// The mark is the flag for sensitive values, which has no other use on this field. It is part of the value: a hook or
/// a layer that sets another `Host` replaces the mark with it, and need not know about it. A side effect is that
/// `Debug` prints such a `Host` as `Sensitive`.
pub(super) fn lend(headers: &mut HeaderMap) {
    if let Some(host) = headers.get_mut(header::HOST) {
        host.set_sensitive(true);
    }
}

/// Returns whether a `Host` is only a placeholder: see [`lend`].
pub(crate) fn is_lent(host: &HeaderValue) -> bool {
    host.is_sensitive()
}

/// Returns the host that the client asked for. Call it after [`settle`].
pub(super) fn asked_for(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut host = headers.get(header::HOST)?.clone();
    // Another proxy in this process may have marked it.
    host.set_sensitive(false);
    Some(host)
}

/// Leaves exactly one valid host on a head, in the `Host` field.
///
/// - More than one `Host` line, or an invalid value: 400. RFC 9112 3.2: "A server MUST respond with a 400 (Bad Request)
///   status code to any HTTP/1.1 request message that lacks a Host header field and to any request message that
///   contains more than one Host header field line or a Host header field with an invalid field value."
/// - A target in absolute form, or an HTTP/2 `:authority`, replaces the field. RFC 9112 3.2.2: a proxy "MUST ignore the
///   received Host header field (if any) and instead replace it with the host information of the request-target".
/// - A field that differs from `:authority`: 400. RFC 9113 8.3.1: such a request is treated as malformed.
/// - No host at all: 400 for HTTP/1.1, and forwarded without one for HTTP/1.0 and HTTP/2, which do not require it.
///
/// # Errors
///
/// Returns a 400 for the cases above, and for a target in authority form, which is for CONNECT only.
pub(super) fn settle(parts: &mut Parts, seen: Seen) -> Result<(), Error> {
    if seen.repeats()
        && parts
            .headers
            .get_all(header::HOST)
            .into_iter()
            .nth(1)
            .is_some()
    {
        return Err(bad("more than one Host"));
    }
    let http2 = parts.version >= Version::HTTP_2;
    match (parts.uri.authority(), parts.headers.get(header::HOST)) {
        (Some(target), host) => {
            // RFC 9112 3.2.3: authority-form is for CONNECT only.
            if parts.uri.scheme().is_none() {
                return Err(bad("the target is no path"));
            }
            if !is_valid(target.as_str().as_bytes()) {
                return Err(bad("invalid authority"));
            }
            match host {
                Some(host)
                    if host
                        .as_bytes()
                        .eq_ignore_ascii_case(target.as_str().as_bytes()) =>
                {
                    return Ok(());
                }
                Some(_) if http2 => return Err(bad("Host differs from :authority")),
                Some(host) if !is_valid(host.as_bytes()) => return Err(bad("invalid Host")),
                _ => {}
            }
            let value =
                HeaderValue::from_str(target.as_str()).map_err(|_| bad("invalid authority"))?;
            parts.headers.insert(header::HOST, value);
        }
        (None, Some(host)) if is_valid(host.as_bytes()) => {}
        (None, Some(_)) => return Err(bad("invalid Host")),
        (None, None) if parts.version >= Version::HTTP_11 && !http2 => {
            return Err(bad("the request has no Host field"));
        }
        (None, None) => {}
    }
    Ok(())
}

/// Checks the `Host` of a request whose host is named by its target alone: none, or one that is valid, and one at least
/// over HTTP/1.1. See [`settle`].
///
/// # Errors
///
/// Returns a 400 otherwise.
pub(super) fn check_field(parts: &Parts) -> Result<(), Error> {
    let mut hosts = parts.headers.get_all(header::HOST).into_iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(bad("more than one Host")),
        (Some(host), None) if !is_valid(host.as_bytes()) => Err(bad("invalid Host")),
        (None, _) if parts.version == Version::HTTP_11 => Err(bad("the request has no Host field")),
        _ => Ok(()),
    }
}

/// Returns whether a value is `uri-host [ ":" port ]` (RFC 9110 7.2) with a host that is not empty, and without user
/// info.
///
/// A port may be empty, as the grammar has it, or a number up to 65535.
fn is_valid(host: &[u8]) -> bool {
    is_plain(host) || is_valid_when_parsed(host)
}

/// Returns the same as [`is_valid`], for any value.
fn is_valid_when_parsed(host: &[u8]) -> bool {
    // `Authority` alone would accept `user@`, and also `a,b`, which is what two `Host` lines look like after a proxy in
    // front has joined them.
    !host.contains(&b'@')
        && !host.contains(&b',')
        && Authority::try_from(host).is_ok_and(|authority| {
            let port = host.get(authority.host().len()..).unwrap_or_default();
            let port = port.strip_prefix(b":").unwrap_or(port);
            !authority.host().is_empty() && (port.is_empty() || authority.port_u16().is_some())
        })
}

/// The bytes of a plain name: those that RFC 3986 2.3 calls unreserved.
static UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let other = matches!(byte as u8, b'.' | b'-' | b'_' | b'~');
        table[byte] = (byte as u8).is_ascii_alphanumeric() || other;
        byte += 1;
    }
    table
};

/// Returns whether a value is a name of [`UNRESERVED`] bytes, with a port of up to five digits if any.
///
/// Nearly every host is. The check avoids the copy that parsing makes, which takes about 1 900 instructions. A `false`
/// means nothing but that the value has to be parsed.
fn is_plain(host: &[u8]) -> bool {
    let is_other = |byte: &u8| !UNRESERVED[usize::from(*byte)];
    let name = host.iter().position(is_other).unwrap_or(host.len());
    name > 0
        && match &host[name..] {
            [] => true,
            [b':', port @ ..] => is_plain_port(port),
            _ => false,
        }
}

/// Returns whether a value is a number of up to five digits that is no more than 65535, or is empty.
fn is_plain_port(port: &[u8]) -> bool {
    let mut number = 0;
    for byte in port {
        number = number * 10 + u32::from(byte.wrapping_sub(b'0'));
        if !byte.is_ascii_digit() || number > u32::from(u16::MAX) {
            return false;
        }
    }
    port.len() <= 5
}

/// Returns the error of a request that violates the rule `what`.
fn bad(what: &'static str) -> Error {
    Error::bad_request(what)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn host_of(uri: &str, version: Version, hosts: &[&'static str]) -> Option<String> {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let seen = Seen::in_head(&parts.headers);
        settle(&mut parts, seen).ok()?;
        Some(
            parts
                .headers
                .get("host")
                .map(|host| host.to_str().unwrap().to_owned())
                .unwrap_or_default(),
        )
    }

    /// Check 29.
    #[test]
    fn exactly_one_valid_host() {
        let one = |host| host_of("/", Version::HTTP_11, &[host]);
        for good in [
            "a",
            "a:80",
            "a:",
            "1.2.3.4:5",
            "[::1]:80",
            "[::1]",
            "A.b-c_d",
        ] {
            assert_eq!(one(good).as_deref(), Some(good));
        }
        for bad in [
            "", "a@b", "a/b", "a b", "a:x", "a:99999", ":80", "a,b", "[::1", "a?b", "a#b",
        ] {
            assert_eq!(one(bad), None, "{bad:?}");
        }
        assert_eq!(host_of("/", Version::HTTP_11, &["a", "a"]), None);
        assert_eq!(host_of("/", Version::HTTP_11, &[]), None);
        assert_eq!(host_of("/", Version::HTTP_10, &[]).as_deref(), Some(""));
    }

    proptest! {
        /// The short way accepts nothing else, and all that is valid is accepted by either.
        #[test]
        fn what_is_plain_is_valid(host in "[a-cZ0-9._~-]{0,3}[:@,%/ \\[\\]é]{0,2}[0-9a]{0,7}") {
            let host = host.as_bytes();
            prop_assert_eq!(is_valid(host), is_valid_when_parsed(host));
        }

        #[test]
        fn what_is_plain_is_valid_whatever_the_bytes(host in vec(any::<u8>(), 0..4)) {
            prop_assert_eq!(is_valid(&host), is_valid_when_parsed(&host));
        }

        #[test]
        fn a_port_is_at_most_65535(port in 0..200_000_u32, zeros in 0..3_usize) {
            let host = format!("a:{}{port}", "0".repeat(zeros));
            prop_assert_eq!(is_valid(host.as_bytes()), port <= 65_535);
        }
    }

    /// Check 28, and RFC 9113 8.3.1.
    #[test]
    fn the_target_wins_over_the_field() {
        assert_eq!(
            host_of("http://x:81/p", Version::HTTP_11, &["y"]).as_deref(),
            Some("x:81")
        );
        assert_eq!(
            host_of("http://x/p", Version::HTTP_2, &[]).as_deref(),
            Some("x")
        );
        assert_eq!(
            host_of("http://x/p", Version::HTTP_2, &["X"]).as_deref(),
            Some("X")
        );
        assert_eq!(host_of("http://x/p", Version::HTTP_2, &["y"]), None);
        assert_eq!(host_of("http://u@x/p", Version::HTTP_11, &["x"]), None);
    }
}
