//! Hosts and ports, and whether two of them are the same.

/// A host with its port, as one of the places where the endpoint is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// An IPv6 address has its brackets.
    pub(super) host: &'a str,
    port: u16,
}

impl<'a> Origin<'a> {
    /// Parses an authority without user and password. A port that is missing is that of `scheme`.
    ///
    /// Returns `None` for what is no such authority.
    pub(super) fn parse(authority: &'a str, scheme: &str) -> Option<Self> {
        let (host, port) = match authority.rsplit_once(':') {
            // The colon is inside of an IPv6 address.
            Some((_, port)) if port.ends_with(']') => (authority, ""),
            Some((host, port)) => (host, port),
            None => (authority, ""),
        };
        let in_host =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&()*+=:[]".contains(&byte);
        let is_host = !host.is_empty() && host.bytes().all(in_host);
        let port = match port {
            // RFC 3986 3.2.3: an empty port is that of the scheme.
            "" => Some(if scheme == "https" { 443 } else { 80 }),
            _ => port.parse().ok(),
        };
        port.filter(|_| is_host).map(|port| Self { host, port })
    }

    /// Returns whether both are the same. RFC 3986 3.2.2: the host is case-insensitive.
    pub(super) fn is(&self, other: &Origin<'_>) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(other.host)
    }
}

/// Takes the URL of an endpoint apart: the scheme that the endpoint believes it has, its authority, and its base path.
pub(super) fn of_endpoint(url: &str) -> (&'static str, &str, &str) {
    if url.starts_with("unix:") {
        // What it is sent as `Host`.
        return ("http", "localhost", "");
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = if scheme == "https" { "https" } else { "http" };
    (scheme, authority, base)
}
