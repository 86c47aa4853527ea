//! What a response is stored under.

use std::{fmt, sync::Arc};

use http::{header, request::Parts, uri::Scheme};

/// The longest key, in bytes. A request whose key is longer is not answered from the cache, nor is its response stored.
const MAX_KEY: usize = 8 << 10;

/// The key of a resource: scheme, host with port, path and query, byte for byte, and what the application has added.
///
/// Nothing is decoded, normalised or left out. Two URLs that a server treats as one are stored twice; two that it
/// treats as different are never taken for each other.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// The URL, and behind it what was added.
    text: Arc<str>,
    /// The length of the URL.
    url: usize,
}

impl CacheKey {
    /// Returns the key of a URL as a client would write it: `http://example.com/a?b`.
    #[must_use]
    pub fn from_url(url: &str) -> Self {
        Self {
            text: url.into(),
            url: url.len(),
        }
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.text[..self.url]
    }

    /// Returns the URL followed by what was added: what a store can use as its own key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the key with a part added, by which responses for the same URL are told apart: a tenant, for example.
    ///
    /// Purges by URL and by prefix cover all of them.
    #[must_use]
    pub fn with(&self, part: &str) -> Self {
        // A URL cannot contain this character, so no URL is another one with a part.
        Self {
            text: format!("{}\0{part}", self.text).into(),
            url: self.url,
        }
    }

    /// Returns the same key for another URL.
    pub(super) fn for_url(&self, url: &str) -> Self {
        Self {
            text: format!("{url}{}", &self.text[self.url..]).into(),
            url: url.len(),
        }
    }

    /// Returns the key of a request. `None` if it has none that is unambiguous, or if it is too long.
    ///
    /// The scheme is that of the connection, as far as the server has put it into the extensions. A client can write
    /// another one into an absolute-form target or `:scheme`, and a server that redirects by `X-Forwarded-Proto` would
    /// answer by that of the connection. Likewise, servers differ in which host they believe if there are two.
    pub(super) fn of(request: &Parts) -> Option<Self> {
        let uri = &request.uri;
        let known = request.extensions.get::<Scheme>();
        if let (Some(known), Some(said)) = (known, uri.scheme()) {
            if known != said {
                return None;
            }
        }
        let scheme = known.or(uri.scheme()).map_or("http", Scheme::as_str);
        let host = host(request)?;
        let target = uri.path_and_query()?.as_str();
        let slash = if target.starts_with('/') { "" } else { "/" };
        let length = scheme.len() + "://".len() + host.len() + slash.len() + target.len();
        if length > MAX_KEY {
            return None;
        }
        let mut text = String::with_capacity(length);
        for part in [scheme, "://", host, slash, target] {
            text.push_str(part);
        }
        Some(Self::from_url(&text))
    }

    /// Returns whether the key, with what was added, is too long.
    pub(super) fn is_too_long(&self) -> bool {
        self.text.len() > MAX_KEY
    }
}

/// Returns the host of a request, with its port. `None` if there is none, more than one, or one that is malformed.
fn host(request: &Parts) -> Option<&str> {
    let mut lines = request.headers.get_all(header::HOST).into_iter();
    let field = match (lines.next(), lines.next()) {
        (None, _) => None,
        (Some(line), None) => Some(line.to_str().ok()?),
        (Some(_), Some(_)) => return None,
    };
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    let host = match (authority, field) {
        (Some(authority), Some(field)) if authority != field => return None,
        (authority, field) => authority.or(field)?,
    };
    // With a delimiter of URLs in it, the key could be that of another host or path.
    let is_valid = |byte: u8| byte.is_ascii_graphic() && !b"/\\?#@".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_valid)).then_some(host)
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn key(uri: &str, hosts: &[&str], scheme: Option<Scheme>) -> Option<String> {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let mut request = request.body(()).unwrap().into_parts().0;
        if let Some(scheme) = scheme {
            request.extensions.insert(scheme);
        }
        CacheKey::of(&request).map(|key| key.as_str().to_owned())
    }

    /// Nothing is decoded or normalised: what a server tells apart has different keys.
    #[test]
    fn keys_are_bytes() {
        let path = |path| key(path, &["a"], None).unwrap();
        let paths = [
            "/x", "/X", "/%78", "//x", "/x/", "/./x", "/y/../x", "/x;a", "/x?", "/x?a&b", "/x?b&a",
            "/x%2f", "/x%00", "/x%23",
        ];
        for (nth, one) in paths.iter().enumerate() {
            assert_eq!(path(one), format!("http://a{one}"));
            for other in &paths[nth + 1..] {
                assert_ne!(path(one), path(other));
            }
        }
        assert_ne!(key("/x", &["A"], None), key("/x", &["a"], None));
        assert_ne!(key("/x", &["a:80"], None), key("/x", &["a"], None));
    }

    /// A host that contains the beginning of a path would have the key of another URL.
    #[test]
    fn a_host_is_no_part_of_another_url() {
        for host in ["a/x", "a?", "a#", "b@a", "a\\x", "a b", "a\t", ""] {
            assert_eq!(key("/x", &[host], None), None, "{host}");
        }
        assert_eq!(key("/x", &["a", "a"], None), None);
        assert_eq!(key("/x", &[], None), None);
        assert_eq!(key("http://b/x", &["a"], None), None);
        assert_eq!(key("http://a/x", &["a"], None).unwrap(), "http://a/x");
        assert_eq!(
            key("/x", &["[::1]:8080"], None).unwrap(),
            "http://[::1]:8080/x"
        );
    }

    /// A client cannot choose the scheme where the server knows that of the connection.
    #[test]
    fn the_scheme_is_that_of_the_connection() {
        assert_eq!(
            key("/x", &["a"], Some(Scheme::HTTPS)).unwrap(),
            "https://a/x"
        );
        assert_eq!(key("https://a/x", &[], None).unwrap(), "https://a/x");
        assert_eq!(key("https://a/x", &[], Some(Scheme::HTTP)), None);
    }

    #[test]
    fn long_keys_are_none() {
        let long = |length: usize| key(&format!("/{}", "x".repeat(length)), &["a"], None);
        assert!(long(8000).is_some() && long(8192).is_none());
    }

    #[test]
    fn parts_do_not_change_the_url() {
        let key = CacheKey::from_url("http://a/x").with("t");
        assert_eq!((key.url(), key.as_str()), ("http://a/x", "http://a/x\0t"));
        assert_eq!(key.for_url("http://a/y").as_str(), "http://a/y\0t");
    }
}
