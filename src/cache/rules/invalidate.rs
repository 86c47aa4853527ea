//! What a response to an unsafe request makes invalid (RFC 9111 4.4, RFC 9875).

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::structured::strings;

/// RFC 9875 2: the groups that a response belongs to.
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// RFC 9875 3: the groups that a response makes invalid.
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// Returns whether responses to requests with this method and status invalidate what is stored.
///
/// RFC 9111 4.4: "A cache MUST invalidate the target URI (Section 7.1 of [HTTP]) when it receives a non-error status
/// code in response to an unsafe request method (including methods whose safety is unknown)." And: "A "non-error
/// response" is one with a 2xx (Successful) or 3xx (Redirection) status code."
pub(crate) fn invalidates(method: &Method, status: StatusCode) -> bool {
    // RFC 9110 9.2.1, and QUERY.
    let is_safe = matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY"
    );
    !is_safe && (status.is_success() || status.is_redirection())
}

/// Returns the groups of a response. None if the field is malformed.
pub(crate) fn groups(response: &HeaderMap) -> Vec<String> {
    let is_there = response.contains_key(CACHE_GROUPS);
    let groups = is_there.then(|| strings(response, &CACHE_GROUPS)).flatten();
    groups.unwrap_or_default()
}

/// Returns the groups that a response to an unsafe request makes invalid.
pub(crate) fn invalidated_groups(response: &HeaderMap) -> Vec<String> {
    let is_there = response.contains_key(CACHE_GROUP_INVALIDATION);
    let groups = is_there.then(|| strings(response, &CACHE_GROUP_INVALIDATION));
    groups.flatten().unwrap_or_default()
}

/// Returns the other URLs that a response to an unsafe request makes invalid: those of `Location` and
/// `Content-Location`, as far as they have the same origin.
///
/// RFC 9111 4.4: "However, a cache MUST NOT trigger an invalidation under these conditions if the origin (Section 4.3.1
/// of [HTTP]) of the URI to be invalidated differs from that of the target URI".
pub(crate) fn invalidated_urls(target: &str, response: &HeaderMap) -> Vec<String> {
    let fields = [header::LOCATION, header::CONTENT_LOCATION];
    let references = fields
        .iter()
        .filter_map(|name| response.get(name)?.to_str().ok());
    references
        .filter_map(|reference| resolve(target, reference))
        .collect()
}

/// Returns the origin of a URL, `scheme://authority`, and the rest.
pub(crate) fn split_origin(url: &str) -> Option<(&str, &str)> {
    let authority = url.find("://")? + "://".len();
    let end = url[authority..].find(['/', '?', '#']);
    Some(url.split_at(end.map_or(url.len(), |end| authority + end)))
}

/// Resolves a reference against a URL (RFC 3986 5.2.2), if the result has the same origin. Its origin is then written
/// as that of `base`.
fn resolve(base: &str, reference: &str) -> Option<String> {
    let (origin, rest) = split_origin(base)?;
    let reference = reference.split('#').next()?;
    let scheme = origin.split("://").next()?;
    let absolute = match reference.strip_prefix("//") {
        Some(_) => format!("{scheme}:{reference}"),
        None => reference.to_owned(),
    };
    if let Some((other, rest)) = split_origin(&absolute).filter(|_| has_scheme(&absolute)) {
        return is_same_origin(origin, other).then(|| url(origin, rest));
    }
    // Another scheme, without an authority.
    if has_scheme(reference) {
        return None;
    }
    let path = rest.split('?').next()?;
    Some(match reference.as_bytes().first() {
        None => format!("{origin}{rest}"),
        Some(b'/') => url(origin, reference),
        Some(b'?') => format!("{origin}{path}{reference}"),
        Some(_) => {
            let folder = &path[..=path.rfind('/')?];
            url(origin, &format!("{folder}{reference}"))
        }
    })
}

/// Returns whether a reference begins with a scheme (RFC 3986 3.1).
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Returns whether two origins are the same, with default ports added (RFC 9110 4.3.1).
fn is_same_origin(one: &str, other: &str) -> bool {
    let normal = |origin: &str| {
        let origin = origin.to_ascii_lowercase();
        let default = if origin.starts_with("https:") {
            ":443"
        } else {
            ":80"
        };
        origin
            .strip_suffix(default)
            .map_or(origin.clone(), str::to_owned)
    };
    normal(one) == normal(other)
}

/// Joins an origin and what follows, with dot segments removed from the path (RFC 3986 5.2.4).
fn url(origin: &str, rest: &str) -> String {
    let (path, query) = match rest.find('?') {
        Some(query) => rest.split_at(query),
        None => (rest, ""),
    };
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    segments.pop();
                }
                if is_last {
                    segments.push("");
                }
            }
            part => segments.push(part),
        }
    }
    format!("{origin}/{}{query}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9111 4.4: "including methods whose safety is unknown".
    #[test]
    fn unsafe_methods_that_succeed() {
        let does = |method: &str, status| {
            invalidates(
                &method.parse().unwrap(),
                StatusCode::from_u16(status).unwrap(),
            )
        };
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
            assert!(does(method, 200) && does(method, 303), "{method}");
            assert!(!does(method, 404) && !does(method, 500), "{method}");
        }
        assert!(!does("GET", 200) && !does("OPTIONS", 200));
    }

    /// RFC 9111 4.4: the origin must not differ. RFC 3986 5.2.2: references may be relative.
    #[test]
    fn urls_of_the_same_origin() {
        let urls = |reference: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("location", reference.parse().unwrap());
            invalidated_urls("http://a:80/b/c?d", &headers).pop()
        };
        let is = |url: &str| Some(url.to_owned());
        assert_eq!(urls("/x?y#z"), is("http://a:80/x?y"));
        assert_eq!(urls("x"), is("http://a:80/b/x"));
        assert_eq!(urls("../x/./y/.."), is("http://a:80/x/"));
        assert_eq!(urls("?y"), is("http://a:80/b/c?y"));
        assert_eq!(urls(""), is("http://a:80/b/c?d"));
        assert_eq!(urls("http://A/x"), is("http://a:80/x"));
        assert_eq!(urls("//a:80/x"), is("http://a:80/x"));
        for other in [
            "https://a/x",
            "http://b/x",
            "http://a:81/x",
            "//b/x",
            "mailto:a",
            "http://a@b/x",
        ] {
            assert_eq!(urls(other), None, "{other}");
        }
    }

    /// RFC 9875 2 and 3: lists of strings.
    #[test]
    fn groups_are_lists_of_strings() {
        let mut headers = HeaderMap::new();
        headers.insert("cache-groups", "\"a\";revalidate, \"b\"".parse().unwrap());
        assert_eq!(groups(&headers), ["a", "b"]);
        assert_eq!(invalidated_groups(&headers), [""; 0]);
        headers.insert("cache-groups", "\"a\", b".parse().unwrap());
        assert_eq!(groups(&headers), [""; 0]);
    }
}
