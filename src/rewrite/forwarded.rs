//! `X-Forwarded-*` and `Forwarded`: tells the endpoint who the client was, and what it asked for.
//!
//! By default a client's own statements are removed and replaced by what the proxy knows, since any client can send
//! these fields. Those of a trusted peer, a proxy in front of this one, are kept and appended to:
//!
//! - `X-Forwarded-For` is appended to in either case: the peer's address is the last member.
//! - `X-Forwarded-Proto` and `X-Forwarded-Host` of a trusted peer are kept as they are, because that peer is nearer to
//!   the client.
//! - `X-Forwarded-Prefix` is extended at its end by what this proxy removed from the path.
//! - `Forwarded` (RFC 7239) is sent only if it is turned on.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use super::{
    fields::{self, Fields, Seen, is_forwarding},
    list::append,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// How the forwarding fields are made. By default no peer is trusted, and only `X-Forwarded-*` are sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForwardedPolicy {
    /// Networks of proxies whose forwarding fields are believed and appended to.
    pub(crate) trusted: Vec<IpNet>,
    /// Whether RFC 7239's `Forwarded` is sent besides `X-Forwarded-*`.
    pub(crate) rfc7239: bool,
    /// Whether all forwarding fields are removed, and none is sent.
    pub(crate) hidden: bool,
}

impl ForwardedPolicy {
    /// Returns whether an address is in one of the trusted networks.
    ///
    /// Addresses have to be canonical: an IPv4-mapped IPv6 address is in no IPv4 network.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }
}

/// A client address with its text, which is written once because it is the same for all requests of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ClientAddr {
    /// The address as the server around the proxy gave it.
    socket: SocketAddr,
    /// The same without a port, and as an IPv4 address if it is IPv4-mapped: a dual-stack listener reports IPv4 clients
    /// as `::ffff:192.0.2.1`.
    ip: IpAddr,
    /// The text of `ip`, for `X-Forwarded-For`. Always set: the text of an address is a valid field value.
    text: Option<HeaderValue>,
}

impl ClientAddr {
    /// Returns the address with its port.
    pub(crate) fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// Returns the canonical address without a port.
    pub(crate) fn ip(&self) -> IpAddr {
        self.ip
    }
}

impl From<SocketAddr> for ClientAddr {
    fn from(address: SocketAddr) -> Self {
        let ip = address.ip().to_canonical();
        Self {
            socket: address,
            ip,
            text: HeaderValue::try_from(ip.to_string()).ok(),
        }
    }
}

/// What is known of the downstream side of one request, besides its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Downstream<'a> {
    /// The peer's address, if it is known.
    pub(crate) client: Option<&'a ClientAddr>,
    /// `http` or `https`: what the peer's connection to this proxy uses.
    pub(crate) scheme: &'static str,
    /// The path prefix that was removed before the request is forwarded, by a router or by this proxy.
    pub(crate) prefix: Option<&'a HeaderValue>,
}

/// Replaces the client's forwarding fields by what is known, or appends to those of a trusted peer.
///
/// Without a peer address no peer is trusted, and `X-Forwarded-For` is not sent. `host` is what the client asked for,
/// port included; without it `X-Forwarded-Host` is not sent. `seen` is from before the hop-by-hop fields were removed,
/// which removes none of these.
pub(super) fn apply(
    policy: &ForwardedPolicy,
    headers: &mut HeaderMap,
    seen: Seen,
    downstream: Downstream<'_>,
    host: Option<HeaderValue>,
) {
    let ip = downstream.client.map(|client| client.ip);
    let trusted = !policy.hidden && ip.is_some_and(|ip| policy.trusts(ip));
    if !trusted && seen.any(Fields::FORWARDING) {
        fields::remove(headers, |name| is_forwarding(name.as_str()));
    }
    if policy.hidden {
        return;
    }
    if policy.rfc7239 {
        if let Ok(element) = HeaderValue::try_from(element(ip, downstream.scheme, host.as_ref())) {
            append(headers, header::FORWARDED, &element);
        }
    } else if trusted {
        // Without our element the list would name the wrong last hop.
        headers.remove(header::FORWARDED);
    }
    if let Some(text) = downstream.client.and_then(|client| client.text.as_ref()) {
        append(headers, X_FORWARDED_FOR, text);
    }
    let scheme = HeaderValue::from_static(downstream.scheme);
    headers.entry(X_FORWARDED_PROTO).or_insert(scheme);
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
    if let Some(prefix) = downstream.prefix {
        // A trusted proxy removed its prefix first, so it stands in front of ours.
        let before = headers
            .get(X_FORWARDED_PREFIX)
            .map_or(&b""[..], HeaderValue::as_bytes);
        if let Ok(all) = HeaderValue::from_bytes(&[before, prefix.as_bytes()].concat()) {
            headers.insert(X_FORWARDED_PREFIX, all);
        }
    }
}

/// Returns one element of `Forwarded` (RFC 7239 4): `for=192.0.2.43;host=example.com;proto=http`.
///
/// RFC 7239 6 requires an IPv6 address to be in brackets and quoted, and 6.2 has `unknown` for a client whose address
/// is not known. A host that is not a token is quoted (RFC 7239 4): it may contain `;` and `=`, and must not become
/// another parameter.
fn element(peer: Option<IpAddr>, scheme: &str, host: Option<&HeaderValue>) -> String {
    let mut element = String::with_capacity(64);
    // Writing to a String cannot fail.
    let _ = match peer {
        Some(IpAddr::V4(v4)) => write!(element, "for={v4}"),
        Some(IpAddr::V6(v6)) => write!(element, "for=\"[{v6}]\""),
        None => write!(element, "for=unknown"),
    };
    if let Some(host) = host.and_then(|host| host.to_str().ok()) {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let _ = match !host.bytes().all(token) {
            true => write!(element, ";host=\"{host}\""),
            false => write!(element, ";host={host}"),
        };
    }
    let _ = write!(element, ";proto={scheme}");
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(
        policy: &ForwardedPolicy,
        sent: &[(&'static str, &'static str)],
        client: &str,
    ) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let host = HeaderValue::from_static("example.com:8080");
        let client = client.parse::<SocketAddr>().ok().map(ClientAddr::from);
        let downstream = Downstream {
            client: client.as_ref(),
            scheme: "http",
            prefix: None,
        };
        let seen = Seen::in_head(&headers);
        apply(policy, &mut headers, seen, downstream, Some(host));
        headers
    }

    /// Check 7: nothing that an untrusted client says about itself is forwarded.
    #[test]
    fn a_stranger_is_not_believed() {
        let sent = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x-forwarded_for", "6.6.6.6"),
            ("x_real-ip", "6.6.6.6"),
            ("x-original_forwarded-for", "6.6.6.6"),
            ("x-forwarded-host", "evil"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/x"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-server", "s"),
            ("x-real-ip", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
        ];
        let headers = run(&ForwardedPolicy::default(), &sent, "192.0.2.1:1234");
        assert_eq!(headers.len(), 3);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
        assert_eq!(headers["x-forwarded-host"], "example.com:8080");
        assert_eq!(headers["x-forwarded-proto"], "http");
    }

    /// Check 8: a trusted proxy's list is appended to, its other fields are kept, and several lines become one.
    #[test]
    fn a_trusted_peer_is_added_to() {
        let policy = ForwardedPolicy {
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
            rfc7239: true,
            hidden: false,
        };
        let sent = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=1.1.1.1"),
        ];
        let headers = run(&policy, &sent, "[::ffff:10.1.2.3]:80");
        assert_eq!(headers["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 10.1.2.3");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(
            headers["forwarded"],
            "for=1.1.1.1, for=10.1.2.3;host=\"example.com:8080\";proto=http"
        );
        assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
    }

    /// A host cannot add parameters of its own.
    #[test]
    fn rfc_7239_quotes_what_could_be_parameters() {
        let host = HeaderValue::from_static("a;for=6.6.6.6");
        assert_eq!(
            element(None, "http", Some(&host)),
            "for=unknown;host=\"a;for=6.6.6.6\";proto=http"
        );
    }

    #[test]
    fn a_hidden_client_is_not_mentioned() {
        let policy = ForwardedPolicy {
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
            rfc7239: true,
            hidden: true,
        };
        let sent = [
            ("x-forwarded-for", "1.1.1.1"),
            ("forwarded", "for=1.1.1.1"),
            ("x_real_ip", "1.1.1.1"),
        ];
        assert!(run(&policy, &sent, "10.0.0.1:80").is_empty());
        assert!(run(&policy, &sent, "192.0.2.1:80").is_empty());
    }

    #[test]
    fn rfc_7239_quotes_ipv6_and_says_unknown() {
        let policy = ForwardedPolicy {
            trusted: Vec::new(),
            rfc7239: true,
            hidden: false,
        };
        let headers = run(&policy, &[], "[2001:db8::1]:80");
        assert!(
            headers["forwarded"]
                .to_str()
                .unwrap()
                .starts_with("for=\"[2001:db8::1]\";")
        );
        let headers = run(&policy, &[], "nobody");
        assert!(
            headers["forwarded"]
                .to_str()
                .unwrap()
                .starts_with("for=unknown;")
        );
        assert!(!headers.contains_key("x-forwarded-for"));
    }
}
