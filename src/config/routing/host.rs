//! [`HostPattern`]: which hosts a route is for.

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
        Ok(match below {
            true => Self::Below(format!(".{}", name.to_ascii_lowercase())),
            false => Self::Exact(name.to_ascii_lowercase()),
        })
    }
}

/// Returns the host that a request is for, in lower case and with its port. `None` if it has none, or one that is not
/// valid.
///
/// The target wins over the field, as it does when the request is forwarded (RFC 9112 3.2.2).
pub(in crate::config) fn host_of(parts: &Parts) -> Option<Authority> {
    let field = || parts.headers.get(header::HOST)?.to_str().ok()?.parse().ok();
    let authority: Authority = parts.uri.authority().cloned().or_else(field)?;
    match authority.as_str().bytes().any(|b| b.is_ascii_uppercase()) {
        true => authority.as_str().to_ascii_lowercase().parse().ok(),
        false => Some(authority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
