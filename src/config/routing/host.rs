//! [`HostPattern`]: which hosts a route is for.

use std::borrow::Cow;

use http::{header, request::Parts, uri::Authority};

/// The hosts that a route is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) enum HostPattern {
    /// This host, in lower case, with or without a port.
    Exact(String),
    /// All hosts that end with this, which begins with a dot.
    Below(String),
    /// All.
    Any,
}

impl HostPattern {
    /// Parses `example.com`, `example.com:8443`, `[::1]` or `*.example.com`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(in crate::config) fn parse(host: &str) -> Result<Self, String> {
        let wrong = || {
            Err(format!(
                "expected a host, as \"example.com\", \"example.com:8443\" or \"*.example.com\", found {host:?}"
            ))
        };
        if host == "*" {
            return Err("leave it out for all hosts".into());
        }
        let (below, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        if name.contains(['*', '@', '/', ',']) || below && name.contains(':') {
            return wrong();
        }
        let Ok(authority) = name.parse::<Authority>() else {
            return wrong();
        };
        if authority.host().is_empty() {
            return wrong();
        }
        // A dot at the end of the name makes no other host, as in a request.
        let (short, port) = name.split_at(authority.host().len());
        let name =
            format!("{}{port}", short.strip_suffix('.').unwrap_or(short)).to_ascii_lowercase();
        Ok(match below {
            true => Self::Below(format!(".{name}")),
            false => Self::Exact(name),
        })
    }
}

/// The host that a request is for, in lower case.
#[derive(Debug)]
pub(in crate::config) struct RequestHost<'r> {
    /// With its port.
    whole: Cow<'r, str>,
    /// How much of it is the name.
    name: usize,
}

impl<'r> RequestHost<'r> {
    /// Returns the host of a request. `None` if it has none, or one that is not valid.
    ///
    /// The target wins over the field, as it does when the request is forwarded (RFC 9112 3.2.2).
    pub(in crate::config) fn of(parts: &'r Parts) -> Option<Self> {
        let whole = match parts.uri.authority() {
            Some(authority) => authority.as_str(),
            None => parts.headers.get(header::HOST)?.to_str().ok()?,
        };
        let name = match whole.bytes().all(is_plain) {
            // Nearly every host is a name with or without a port, which need not be parsed.
            true => whole.find(':').unwrap_or(whole.len()),
            false => whole.parse::<Authority>().ok()?.host().len(),
        };
        // What is in front of the name would be a user.
        if name == 0 || whole.contains('@') {
            return None;
        }
        let mut host = Self {
            whole: whole.into(),
            name,
        };
        // `example.com.` is the same host, and must not be one that no route is for.
        if let Some(short) = host.name().strip_suffix('.').map(str::len) {
            let port = whole.get(name..).unwrap_or_default();
            host.whole = format!("{}{port}", host.whole.get(..short)?).into();
            host.name = short;
        }
        if host.whole.bytes().any(|byte| byte.is_ascii_uppercase()) {
            host.whole = host.whole.to_ascii_lowercase().into();
        }
        Some(host)
    }

    /// Returns it with its port.
    pub(in crate::config) fn with_port(&self) -> &str {
        &self.whole
    }

    /// Returns it without its port.
    pub(in crate::config) fn name(&self) -> &str {
        self.whole.get(..self.name).unwrap_or_default()
    }
}

/// Returns whether a byte is part of a plain name, or separates one from a port.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str) -> Option<(String, String)> {
        let request = http::Request::get("/").header("host", host);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let host = RequestHost::of(&parts)?;
        Some((host.name().to_owned(), host.with_port().to_owned()))
    }

    #[test]
    fn the_host_of_a_request() {
        let some = |name: &str, whole: &str| Some((name.to_owned(), whole.to_owned()));
        assert_eq!(of("Example.com:80"), some("example.com", "example.com:80"));
        assert_eq!(of("a_b"), some("a_b", "a_b"));
        assert_eq!(of("A.test.:80"), some("a.test", "a.test:80"));
        assert_eq!(of("a."), some("a", "a"));
        assert_eq!(of("[::1]:80"), some("[::1]", "[::1]:80"));
        assert_eq!(of("[::1]"), some("[::1]", "[::1]"));
        for none in ["", ":80", "u@a", "a b", "a/b"] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }

    #[test]
    fn hosts_of_all_kinds() {
        let exact = |host: &str| Ok(HostPattern::Exact(host.into()));
        assert_eq!(HostPattern::parse("Example.com"), exact("example.com"));
        assert_eq!(HostPattern::parse("a:81"), exact("a:81"));
        assert_eq!(HostPattern::parse("[::1]"), exact("[::1]"));
        let below = HostPattern::Below(".example.com".into());
        assert_eq!(HostPattern::parse("*.Example.com"), Ok(below));
        for wrong in [
            "", "*", "*.", "a/b", "u@a", "*.a:80", "a.*.b", "http://a", "a b",
        ] {
            assert!(HostPattern::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
