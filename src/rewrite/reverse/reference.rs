//! URLs: absolute ones that name the endpoint, and paths from its root.

use super::{ReverseMapping, origin::Origin};
use crate::rewrite::path::{climbs, strip_prefix};

impl ReverseMapping<'_> {
    /// Maps a URL, absolute or relative (RFC 3986 4.1). Returns `None` if it stays as it is.
    ///
    /// ```text
    /// http://10.0.0.1:5000/base/users?x  -> https://example.com/api/users?x
    /// //10.0.0.1:5000/base/users?x       -> //example.com/api/users?x
    /// /base/users?x                      -> /api/users?x
    ///  ^^^^ the endpoint's base              ^^^^ the client's prefix
    /// ```
    ///
    /// What stays as it is: other hosts and other paths, which are not the endpoint's; another scheme of the same host,
    /// because a redirect from http to https, turned around, would be an endless one; and a path that does not begin
    /// with `/`, which is relative to what the client has asked for already.
    pub(super) fn reference(&self, url: &str) -> Option<String> {
        // Browsers take a backslash for a slash and ignore tabs, so a part of such a path could become a host.
        if url.contains(['\\', '\t']) {
            return None;
        }
        let (origin, path) = match self.split_scheme(url) {
            Some((scheme, rest)) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                self.is_own(authority).then_some(())?;
                (self.client_origin(scheme), path)
            }
            None if url.starts_with('/') => (String::new(), url),
            None => return None,
        };
        let (path, rest) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
        let path = self.path(path)?;
        // Alone it would name a host (RFC 3986 4.2).
        let names_a_host = origin.is_empty() && path.starts_with("//");
        (!names_a_host).then(|| [&origin, &path, rest].concat())
    }

    /// Returns what follows `scheme://` or `//` in a URL, and whether there was a scheme. `None` if there is neither,
    /// or if the scheme is not the endpoint's.
    fn split_scheme<'u>(&self, url: &'u str) -> Option<(bool, &'u str)> {
        if let Some(rest) = url.strip_prefix("//") {
            return Some((false, rest));
        }
        let (scheme, rest) = url.split_once("://")?;
        scheme
            .eq_ignore_ascii_case(self.scheme)
            .then_some((true, rest))
    }

    /// Returns what the client has in the place of the endpoint's scheme and host. Empty if its host is not known, as
    /// with HTTP/1.0: the path alone means the same then.
    fn client_origin(&self, with_scheme: bool) -> String {
        match (self.client_host, with_scheme) {
            (Some(host), true) => format!("{}://{host}", self.client_scheme),
            (Some(host), false) => format!("//{host}"),
            (None, _) => String::new(),
        }
    }

    /// Returns whether an authority is the endpoint's, or what the endpoint was told is its own.
    fn is_own(&self, authority: &str) -> bool {
        let Some(origin) = Origin::parse(authority, self.scheme) else {
            return false;
        };
        self.own.iter().flatten().any(|own| own.is(&origin))
    }

    /// Maps a path of the endpoint's, byte for byte. Returns `None` for one that is not below its base, and so cannot
    /// be reached through this proxy.
    pub(super) fn path(&self, path: &str) -> Option<String> {
        let rest = match path.strip_prefix(&*self.base) {
            // No slash is added where the base itself is meant.
            Some("") => "",
            _ => strip_prefix(path, &self.base)?,
        };
        if climbs(rest) {
            return None;
        }
        let mapped = [self.prefix, rest].concat();
        Some(if mapped.is_empty() {
            "/".to_owned()
        } else {
            mapped
        })
    }
}
