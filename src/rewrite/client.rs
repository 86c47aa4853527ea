//! The client's address and scheme, as far as the proxies in front of this one can be trusted.
//!
//! The results are facts for the proxy's own use: client address hashing and the attributes of the session cookie. The
//! fields that the endpoint receives are made in `forwarded.rs`, after this has read those that the request arrived
//! with.
//!
//! RFC 7239's `Forwarded` is not read.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::forwarded::{ClientAddr, ForwardedPolicy};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl ForwardedPolicy {
    /// Returns the client's address: that of the nearest hop that is not a trusted proxy. `None` if the address of the
    /// peer is unknown.
    ///
    /// Each proxy appends the address of its own peer, so the list is read from its end. What a client writes itself is
    /// in front of what the first trusted proxy appended, and is never reached:
    ///
    /// ```text
    /// X-Forwarded-For: 1.2.3.4, 192.0.2.7, 10.0.0.2     peer: 10.0.0.1
    ///                  ^ forged ^ the client ^ trusted          ^ trusted
    /// ```
    ///
    /// If the list ends, or has a member that is not an address, while every hop so far is trusted, the last of them is
    /// returned.
    pub(crate) fn client_address(
        &self,
        headers: &HeaderMap,
        peer: Option<&ClientAddr>,
    ) -> Option<IpAddr> {
        let mut client = peer?.ip();
        let lines = headers.get_all(X_FORWARDED_FOR).into_iter().rev();
        let mut said = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        while self.trusts(client) {
            match said.next().map(parse) {
                Some(Some(before)) => client = before,
                // The end of the list, or a proxy that does not disclose the address: `unknown`, or an obfuscated name.
                Some(None) | None => break,
            }
        }
        Some(client)
    }

    /// Returns whether the client's own connection is encrypted: as a trusted peer's `X-Forwarded-Proto` says, and as
    /// `scheme` says otherwise.
    pub(crate) fn is_tls(
        &self,
        headers: &HeaderMap,
        peer: Option<&ClientAddr>,
        scheme: &str,
    ) -> bool {
        let trusted = peer.is_some_and(|peer| self.trusts(peer.ip()));
        match headers
            .get(X_FORWARDED_PROTO)
            .filter(|_| trusted)
            .map(HeaderValue::as_bytes)
        {
            // The first member of a list is what the outermost proxy saw.
            Some(said) => {
                let first = said.split(|byte| *byte == b',').next().unwrap_or_default();
                let said = first.trim_ascii();
                // Some proxies name the scheme of a WebSocket.
                [&b"https"[..], b"wss"]
                    .iter()
                    .any(|tls| said.eq_ignore_ascii_case(tls))
            }
            None => scheme == "https",
        }
    }
}

/// Parses an address with or without a port, an IPv6 address with or without brackets. An IPv4-mapped IPv6 address
/// becomes the IPv4 address, so that it compares equal to it.
fn parse(member: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(member).ok()?.trim();
    let bare = || {
        text.trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()
    };
    let address = bare().or_else(|| {
        text.parse::<SocketAddr>()
            .ok()
            .map(|with_port| with_port.ip())
    });
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> ForwardedPolicy {
        let trusted = ["10.0.0.0/8", "fd00::/8"]
            .map(|net| net.parse().unwrap())
            .to_vec();
        ForwardedPolicy {
            trusted,
            ..ForwardedPolicy::default()
        }
    }

    fn client(peer: &str, lines: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let peer = ClientAddr::from(SocketAddr::new(peer.parse().unwrap(), 1));
        policy()
            .client_address(&headers, Some(&peer))
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_client_cannot_choose_its_address() {
        assert_eq!(
            client("192.0.2.7", &["1.2.3.4"]),
            "192.0.2.7",
            "no trusted peer"
        );
        assert_eq!(client("10.0.0.1", &["1.2.3.4, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(
            client("10.0.0.1", &["1.2.3.4", "192.0.2.7,10.0.0.2"]),
            "192.0.2.7"
        );
        assert_eq!(client("fd00::1", &["[2001:db8::7]:80"]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &["192.0.2.7:4711"]), "192.0.2.7");
    }

    #[test]
    fn the_nearest_that_is_known_counts_when_the_chain_ends() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(
            client("10.0.0.1", &["1.2.3.4, unknown, 10.0.0.2"]),
            "10.0.0.2"
        );
        assert_eq!(policy().client_address(&HeaderMap::new(), None), None);
    }

    #[test]
    fn only_a_trusted_peer_tells_the_scheme() {
        let is_tls = |peer: &str, said: &'static str, scheme: &str| {
            let headers =
                HeaderMap::from_iter([(X_FORWARDED_PROTO, HeaderValue::from_static(said))]);
            let peer = ClientAddr::from(SocketAddr::new(peer.parse().unwrap(), 1));
            policy().is_tls(&headers, Some(&peer), scheme)
        };
        assert!(is_tls("10.0.0.1", "https", "http"));
        assert!(is_tls("10.0.0.1", "HTTPS, http", "http"));
        assert!(is_tls("10.0.0.1", "wss", "http"));
        assert!(!is_tls("10.0.0.1", "ws", "https"));
        assert!(!is_tls("10.0.0.1", "http, https", "https"));
        assert!(!is_tls("192.0.2.7", "https", "http"));
        assert!(is_tls("192.0.2.7", "http", "https"));
    }
}
