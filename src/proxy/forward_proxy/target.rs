//! Where a client wants to go: the host and port in the target of its request, parsed strictly.
//!
//! A policy must check what is connected to, but resolvers accept more forms of addresses than the usual one:
//! `inet_aton` reads `2130706433`, `0x7f.1` and `0177.0.0.1` as 127.0.0.1. Here a host is an address in its usual form,
//! or a name that no resolver takes for an address.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use http::{
    Method, Uri,
    request::Parts,
    uri::{Authority, Scheme},
};

use crate::error::Error;

/// RFC 1035 2.3.4 limits names to 255 octets, with the length bytes of the wire form: 253 as text.
const MAX_NAME: usize = 253;

/// RFC 1035 2.3.4 limits labels to 63 octets.
const MAX_LABEL: usize = 63;

/// Where a client of a [`ForwardProxy`](crate::ForwardProxy) wants to go.
///
/// `Display` shows the host and the port: `example.com:443`, `[2001:db8::1]:80`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestTarget {
    protocol: TargetProtocol,
    /// In lower case, without a dot at the end. An IPv6 address has no brackets.
    host: Box<str>,
    /// The host, if it is an address.
    ip: Option<IpAddr>,
    port: u16,
}

/// What a client wants to speak with the target, or have spoken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetProtocol {
    /// Whatever the client sends through a tunnel: the method is CONNECT.
    Tunnel,
    /// HTTP: the target of the request begins with `http://`.
    Http,
    /// HTTP over TLS, which the proxy speaks: the target of the request begins with `https://`.
    Https,
}

impl RequestTarget {
    /// Returns the host in lower case and without a dot at its end; an address in its canonical form, an IPv6 address
    /// without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the host if it is an address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// Returns the port, which is 80 or 443 if an `http://` or `https://` target has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns what the client wants to speak.
    #[must_use]
    pub fn protocol(&self) -> TargetProtocol {
        self.protocol
    }

    /// Returns whether the client wants a tunnel.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        self.protocol == TargetProtocol::Tunnel
    }

    /// Returns the URL of the server for a client, or `None` for a tunnel.
    pub(super) fn url(&self) -> Option<String> {
        match self.protocol {
            TargetProtocol::Tunnel => None,
            TargetProtocol::Http => Some(format!("http://{self}")),
            TargetProtocol::Https => Some(format!("https://{self}")),
        }
    }

    /// Returns the target of a request in absolute form, or of a CONNECT in authority form. `None` for a target in
    /// origin or asterisk form, which is for the server itself.
    ///
    /// # Errors
    ///
    /// Returns a 400 for a target whose form does not fit the method, for user information, for a host that is neither
    /// an address in its usual form nor a name, for a port that is none, and for a scheme that is not HTTP.
    pub(super) fn of(head: &Parts) -> Result<Option<Self>, Error> {
        let connects = head.method == Method::CONNECT;
        match (head.uri.authority(), head.uri.scheme()) {
            (Some(authority), None) if connects => {
                Self::to_connect_to(&head.uri, authority).map(Some)
            }
            // RFC 9110 9.3.6: "CONNECT uses a special form of request target [...] consisting of only the host and port
            // number of the tunnel destination". An extended CONNECT (RFC 8441) has a scheme, and is not served.
            _ if connects => Err(Error::bad_request("the target of CONNECT is not host:port")),
            (Some(authority), Some(scheme)) => Self::to_request(scheme, authority).map(Some),
            (Some(_), None) => Err(Error::bad_request("the target has no scheme")),
            (None, _) => Ok(None),
        }
    }

    /// Returns the target of a CONNECT.
    fn to_connect_to(uri: &Uri, authority: &Authority) -> Result<Self, Error> {
        if uri.path_and_query().is_some() {
            return Err(Error::bad_request("the target of CONNECT has a path"));
        }
        // RFC 9110 9.3.6: "A server MUST reject a CONNECT request that targets an empty or invalid port number,
        // typically by responding with a 400 (Bad Request) status code."
        let port =
            port_of(authority)?.ok_or_else(|| Error::bad_request("CONNECT without a port"))?;
        Self::parse(TargetProtocol::Tunnel, authority, port)
    }

    /// Returns the target of any other request.
    fn to_request(scheme: &Scheme, authority: &Authority) -> Result<Self, Error> {
        let (protocol, default) = match scheme {
            scheme if *scheme == Scheme::HTTP => (TargetProtocol::Http, 80),
            scheme if *scheme == Scheme::HTTPS => (TargetProtocol::Https, 443),
            _ => return Err(Error::bad_request("the scheme is neither http nor https")),
        };
        Self::parse(protocol, authority, port_of(authority)?.unwrap_or(default))
    }

    fn parse(protocol: TargetProtocol, authority: &Authority, port: u16) -> Result<Self, Error> {
        // RFC 9110 4.2.4: a recipient "SHOULD parse for userinfo and treat its presence as an error; it is likely being
        // used to obscure the authority for the sake of phishing attacks".
        if authority.as_str().contains('@') {
            return Err(Error::bad_request("user information in the target"));
        }
        let (host, ip) = parse_host(authority.host())?;
        Ok(Self {
            protocol,
            host,
            ip,
            port,
        })
    }
}

impl fmt::Display for RequestTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(IpAddr::V6(_)) => write!(f, "[{}]:{}", self.host, self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Returns the port of an authority, or `None` if it has none or an empty one.
fn port_of(authority: &Authority) -> Result<Option<u16>, Error> {
    let written = authority
        .as_str()
        .rsplit_once('@')
        .map_or(authority.as_str(), |(_, host)| host);
    let written = written.get(authority.host().len()..).unwrap_or_default();
    match written.strip_prefix(':').unwrap_or(written) {
        "" => Ok(None),
        // `u16` alone would take a sign.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = digits.parse().ok().filter(|port| *port != 0);
            let port = port.ok_or_else(|| Error::bad_request("no such port"))?;
            Ok(Some(port))
        }
        _ => Err(Error::bad_request("no such port")),
    }
}

/// Returns a host in its canonical form, with the address that it is.
fn parse_host(host: &str) -> Result<(Box<str>, Option<IpAddr>), Error> {
    if let Some(literal) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        // Neither a zone (RFC 6874), which names an interface of this host, nor an IPvFuture.
        let ip: Ipv6Addr = literal
            .parse()
            .map_err(|_| Error::bad_request("no IPv6 address"))?;
        return Ok((ip.to_string().into(), Some(ip.into())));
    }
    let name = canonical_name(host).ok_or_else(|| Error::bad_request("no host name"))?;
    if ends_in_a_number(&name) {
        // Exactly four decimal numbers without leading zeros.
        let ip: Ipv4Addr = name
            .parse()
            .map_err(|_| Error::bad_request("no IPv4 address"))?;
        return Ok((name, Some(ip.into())));
    }
    Ok((name, None))
}

/// Returns a name in lower case and without a dot at its end, or `None` if it is no name of a host.
///
/// Letters, digits and hyphens as in RFC 1123 2.1, and underscores, which are in use. A name in another script has to
/// be written as A-labels (`xn--`), as it is in a URL.
pub(super) fn canonical_name(name: &str) -> Option<Box<str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_name = name.len() <= MAX_NAME && name.split('.').all(is_label);
    is_name.then(|| name.to_ascii_lowercase().into())
}

/// Returns whether some resolvers would take a name for an IPv4 address: its last label is a number.
///
/// That is the "ends in a number checker" of the WHATWG's URL standard. No top-level domain is a number.
pub(super) fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hex || last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn target(method: &str, uri: &str) -> Result<Option<RequestTarget>, Error> {
        // What hyper could not parse is answered 400 by hyper.
        let request = Request::builder().method(method).uri(uri).body(());
        let request = request.map_err(|_| Error::bad_request("no URI"))?;
        RequestTarget::of(&request.into_parts().0)
    }

    #[test]
    fn hosts_and_ports_have_one_form() {
        for (method, uri, shown) in [
            ("CONNECT", "Example.COM:443", "example.com:443"),
            ("CONNECT", "example.com.:443", "example.com:443"),
            ("CONNECT", "192.0.2.1:22", "192.0.2.1:22"),
            ("CONNECT", "192.0.2.1.:22", "192.0.2.1:22"),
            ("CONNECT", "[2001:DB8:0::1]:443", "[2001:db8::1]:443"),
            (
                "CONNECT",
                "[::ffff:127.0.0.1]:443",
                "[::ffff:127.0.0.1]:443",
            ),
            ("GET", "http://a_b.example/x?y", "a_b.example:80"),
            ("GET", "http://example.com:/x", "example.com:80"),
            ("GET", "HTTPS://example.com", "example.com:443"),
            (
                "GET",
                "http://xn--bcher-kva.example:8080/",
                "xn--bcher-kva.example:8080",
            ),
            ("GET", "http://1.2.3.4.example/", "1.2.3.4.example:80"),
            ("GET", "http://0x7f/", "refused"),
        ] {
            let found =
                target(method, uri).map_or("refused".to_owned(), |it| it.unwrap().to_string());
            assert_eq!(found, shown, "{uri}");
        }
    }

    #[test]
    fn addresses_are_known_as_such() {
        let ip = |uri| target("CONNECT", uri).unwrap().unwrap().ip();
        assert_eq!(ip("[::1]:443"), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(ip("127.0.0.1:443"), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(ip("localhost:443"), None);
    }

    /// What `inet_aton` takes for 127.0.0.1, and what hides a host.
    #[test]
    fn disguised_targets_are_refused() {
        for host in [
            "2130706433",
            "0x7f000001",
            "0x7F000001",
            "017700000001",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "127.1",
            "127.0.1",
            "127.0.0.0x1",
            "127.0.0.01",
            "127.0.0.1.1",
            "256.0.0.1",
            "0",
            "a..b",
            ".a",
            "a b",
            "a%2eb",
            "a%00.b",
            "localhost%2f",
            "a,b",
            "u@a",
            "u:p@a",
            "[::1%25eth0]",
            "[fe80::1%eth0]",
            "[v1.x]",
            "[127.0.0.1]",
            "[::1",
            "bücher.example",
            "127。0。0。1",
        ] {
            let connect = target("CONNECT", &format!("{host}:443"));
            assert!(connect.is_err(), "{host}: {connect:?}");
            let get = target("GET", &format!("http://{host}/"));
            assert!(get.is_err(), "{host}: {get:?}");
        }
        let long = format!("{}:443", "a".repeat(64));
        assert!(target("CONNECT", &long).is_err());
        let long = format!("{}a:443", "a.".repeat(127));
        assert!(target("CONNECT", &long).is_err());
    }

    /// What `inet_aton` takes for an address: up to four numbers, each decimal, octal or hexadecimal, the last of which
    /// fills what is left of 32 bits.
    fn is_address_to_inet_aton(host: &str) -> bool {
        let number = |part: &str| {
            let hex = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
            match (hex, part.strip_prefix('0')) {
                // Some take `0x` for 0.
                (Some(""), _) | (None, Some("")) => Some(0),
                (Some(hex), _) => u64::from_str_radix(hex, 16).ok(),
                (None, Some(octal)) => u64::from_str_radix(octal, 8).ok(),
                (None, None) => part.parse().ok(),
            }
        };
        let parts: Option<Vec<u64>> = host.split('.').map(number).collect();
        parts.is_some_and(|parts| match parts.split_last() {
            Some((last, bytes)) if bytes.len() < 4 => {
                bytes.iter().all(|byte| *byte < 256) && *last < 1 << (8 * (4 - bytes.len()))
            }
            _ => false,
        })
    }

    proptest! {
        /// Whatever passes as a name is no address, in whatever form.
        #[test]
        fn no_name_is_an_address(host in "(0[xX])?[0-9a-fA-F]{0,9}(\\.(0[xX])?[0-9a-fA-F]{0,4}){0,4}\\.?") {
            if let Ok((name, ip)) = parse_host(&host) {
                let strict: Option<IpAddr> = name.parse().ok();
                prop_assert_eq!(ip, strict);
                if ip.is_none() {
                    prop_assert!(!is_address_to_inet_aton(&name), "{}", name);
                    prop_assert!(!is_address_to_inet_aton(&host), "{}", host);
                }
            }
        }
    }

    #[test]
    fn the_form_fits_the_method() {
        for (method, uri) in [
            ("CONNECT", "example.com"),
            ("CONNECT", "example.com:"),
            ("CONNECT", "example.com:0"),
            ("CONNECT", "example.com:65536"),
            ("CONNECT", "example.com:+443"),
            ("CONNECT", "http://example.com:443/"),
            ("CONNECT", "/"),
            ("CONNECT", "*"),
            ("GET", "example.com:80"),
            ("GET", "http://example.com:65536/"),
            ("GET", "ftp://example.com/"),
            ("GET", "ws://example.com/"),
        ] {
            assert!(target(method, uri).is_err(), "{method} {uri}");
        }
        assert!(target("GET", "/x").unwrap().is_none());
        assert!(target("OPTIONS", "*").unwrap().is_none());
    }
}
