//! Which requests a [`ProxyLayer`](super::ProxyLayer) forwards.
//!
//! Conditions have four kinds: methods, path prefixes, hosts and predicates. Of the first three, one condition of a
//! kind has to hold, if there is any of that kind; of predicates, all have to hold. They are evaluated in this order,
//! the cheapest first.
//!
//! A match decides only where a request goes. It does not make the request valid: a request with two `Host` fields is
//! matched by the first, and is refused when it is forwarded.

use std::{fmt, sync::Arc};

use http::{Method, header, request::Parts, uri::Authority};

use crate::rewrite::{climbs, strip_prefix};

/// A user's condition on a request head.
type Predicate = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// The conditions on a request head. `Default` has none, and matches every request.
#[derive(Clone, Default)]
pub(super) struct Matcher {
    /// Path prefixes, each of which begins with `/`.
    prefixes: Vec<String>,
    /// Hosts, with or without a port, in any case.
    hosts: Vec<String>,
    /// Methods, which are compared exactly.
    methods: Vec<Method>,
    /// Predicates, all of which have to hold.
    predicates: Vec<Predicate>,
}

impl Matcher {
    /// Adds a path prefix, with a `/` in front if it has none.
    pub(super) fn prefix(&mut self, prefix: &str) {
        let slash = if prefix.starts_with('/') { "" } else { "/" };
        self.prefixes.push(format!("{slash}{prefix}"));
    }

    /// Adds a host.
    pub(super) fn host(&mut self, host: &str) {
        self.hosts.push(host.to_owned());
    }

    /// Adds a method.
    pub(super) fn method(&mut self, method: Method) {
        self.methods.push(method);
    }

    /// Adds a predicate.
    pub(super) fn predicate(&mut self, predicate: Predicate) {
        self.predicates.push(predicate);
    }

    /// Returns whether a request is to be forwarded.
    pub(super) fn matches(&self, parts: &Parts) -> bool {
        let any = |none: bool, found: bool| none || found;
        any(
            self.methods.is_empty(),
            self.methods.contains(&parts.method),
        ) && any(self.prefixes.is_empty(), self.has_prefix(parts.uri.path()))
            && any(self.hosts.is_empty(), self.has_host(parts))
            && self.predicates.iter().all(|predicate| predicate(parts))
    }

    /// Returns whether the path is below one of the prefixes.
    ///
    /// A path that climbs is below no prefix: `/public/%2e%2e/admin` may be `/admin` to the server.
    fn has_prefix(&self, path: &str) -> bool {
        let below = |prefix: &String| strip_prefix(path, prefix).is_some_and(|rest| !climbs(rest));
        self.prefixes.iter().any(below)
    }

    /// Returns whether the request is for one of the hosts.
    ///
    /// The target wins over the field, as it does when the request is forwarded (RFC 9112 3.2.2).
    fn has_host(&self, parts: &Parts) -> bool {
        let field = || parts.headers.get(header::HOST)?.to_str().ok()?.parse().ok();
        let Some(authority) = parts.uri.authority().cloned().or_else(field) else {
            return false;
        };
        self.hosts.iter().any(|host| {
            // The colons inside of an IPv6 address are not in front of a port: `[::1]`.
            let wanted: &str = if host.contains(':') && !host.ends_with(']') {
                authority.as_str()
            } else {
                name(&authority)
            };
            host.eq_ignore_ascii_case(wanted)
        })
    }
}

/// Returns the host without its port; an IPv6 address keeps its brackets.
fn name(authority: &Authority) -> &str {
    authority.host()
}

impl fmt::Debug for Matcher {
    /// Shows how many predicates there are, since functions have no text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher")
            .field("prefixes", &self.prefixes)
            .field("hosts", &self.hosts)
            .field("methods", &self.methods)
            .field("predicates", &self.predicates.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn matches(matcher: &Matcher, method: &str, uri: &str, host: &str) -> bool {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", host)
            .body(())
            .unwrap();
        matcher.matches(&request.into_parts().0)
    }

    /// Checks 45 and 46.
    #[test]
    fn prefixes_are_paths() {
        let mut matcher = Matcher::default();
        matcher.prefix("/api");
        matcher.prefix("v1/");
        for path in [
            "/api",
            "/api/",
            "/api/x?y",
            "/v1/x",
            "/api/../api/x",
            "/api/a/../b",
        ] {
            assert_eq!(
                matches(&matcher, "GET", path, "a"),
                !path.contains("api/.."),
                "{path}"
            );
        }
        for path in [
            "/",
            "/apiary",
            "/x/api",
            "/api/../admin",
            "/api/%2e%2e/admin",
            "/api%2f..",
            "/API",
        ] {
            assert!(!matches(&matcher, "GET", path, "a"), "{path}");
        }
    }

    #[test]
    fn hosts_ignore_case_and_unless_given_ports() {
        let mut matcher = Matcher::default();
        matcher.host("Example.com");
        matcher.host("b.test:81");
        assert!(matches(&matcher, "GET", "/", "example.COM:8080"));
        assert!(matches(&matcher, "GET", "/", "b.test:81"));
        assert!(!matches(&matcher, "GET", "/", "b.test:82"));
        assert!(
            !matches(&matcher, "GET", "http://other/", "example.com"),
            "the target wins"
        );
    }

    #[test]
    fn kinds_are_joined_by_and() {
        let mut matcher = Matcher::default();
        assert!(matches(&matcher, "PUT", "/x", "a"));
        matcher.method(Method::GET);
        matcher.method(Method::HEAD);
        matcher.prefix("/x");
        matcher.predicate(Arc::new(|parts| parts.uri.query().is_none()));
        assert!(matches(&matcher, "HEAD", "/x", "a"));
        assert!(!matches(&matcher, "PUT", "/x", "a"));
        assert!(!matches(&matcher, "GET", "/y", "a"));
        assert!(!matches(&matcher, "GET", "/x?q", "a"));
    }
}
