//! Who the request is for: one host, valid, and the same for routing and for the endpoint.

use std::fmt;

use http::{HeaderMap, HeaderValue, Version, header, request::Parts, uri::Authority};

use super::fields::Seen;
use crate::error::Error;

/// What the endpoint sees as `Host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPolicy {
    /// The endpoint's own authority (the default). A service in this process, which has none, gets what the client
    /// asked for.
    #[default]
    Endpoint,
    /// What the client asked for.
    Preserve,
    /// A fixed value.
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

/// Leaves the client's `Host` on a head until the endpoint's client puts its own in its place.
///
/// A service in this process, as an axum router, gets no other, and must have one. The mark is the flag of sensitive
/// values, which has no other use here: it goes with the value, so that a hook or a layer that sets another `Host` need
/// not know of it, and is gone with it.
pub(super) fn lend(headers: &mut HeaderMap) {
    if let Some(host) = headers.get_mut(header::HOST) {
        host.set_sensitive(true);
    }
}

/// Whether a `Host` is only [lent](lend): the client's, where the endpoint's own belongs.
pub(crate) fn is_lent(host: &HeaderValue) -> bool {
    host.is_sensitive()
}

/// The host that the client asked for.
pub(super) fn asked_for(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut host = headers.get(header::HOST)?.clone();
    // A proxy in this process may stand in front.
    host.set_sensitive(false);
    Some(host)
}

/// Makes sure that there is exactly one valid host, and that it stands in the `Host` field.
///
/// RFC 9112 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks
/// a Host header field and to any request message that contains more than one Host header field line or a Host header
/// field with an invalid field value." 3.2.2: an absolute-form target wins over the field. RFC 9113 8.3.1: a `Host`
/// that differs from `:authority` is malformed.
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
    let http2 = parts.version == Version::HTTP_2;
    match (parts.uri.authority(), parts.headers.get(header::HOST)) {
        (Some(target), host) => {
            // RFC 9112 3.2.3: authority-form is for CONNECT alone.
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

/// `uri-host [ ":" port ]` with something in it and no user info, RFC 9110 7.2.
fn is_valid(host: &[u8]) -> bool {
    if is_plain(host) {
        return true;
    }
    // An authority alone would let `user@` through, and the grammar `a,b`, which is what two Host lines look like after
    // somebody has folded them.
    !host.contains(&b'@')
        && !host.contains(&b',')
        && Authority::try_from(host).is_ok_and(|authority| {
            let port = host.get(authority.host().len()..).unwrap_or_default();
            let port = port.strip_prefix(b":").unwrap_or(port);
            !authority.host().is_empty() && (port.is_empty() || authority.port_u16().is_some())
        })
}

/// Letters, digits, dots and hyphens, and a port of up to four digits: what nearly every host is, told without the copy
/// that parsing makes (1300 instructions of 7500 for a whole head).
fn is_plain(host: &[u8]) -> bool {
    let (name, port) = match host.iter().position(|byte| *byte == b':') {
        Some(colon) => (&host[..colon], &host[colon + 1..]),
        None => (host, &b""[..]),
    };
    !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && port.len() <= 4
        && port.iter().all(u8::is_ascii_digit)
}

fn bad(what: &'static str) -> Error {
    Error::bad_request(what)
}

#[cfg(test)]
mod tests {
    use http::Request;

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
