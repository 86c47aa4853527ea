//! Paths: a prefix taken off, a prefix put on, byte for byte.
//!
//! Nothing here decodes or normalises: `%2F` stays `%2F`, `//` stays `//`, an empty query keeps its `?`.

use http::uri::PathAndQuery;

use crate::error::{BoxError, Error};

/// What follows `prefix` in `path`, when the prefix ends at a segment boundary.
///
/// ```text
/// prefix = /api
/// path   = /api/users     -> /users
///          ^^^^ taken off
/// path   = /apiary        -> no match: the boundary is inside a segment
/// path   = /api           -> / (an empty path is not one)
/// ```
pub(crate) fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
    match rest.as_bytes().first() {
        None => Some("/"),
        Some(b'/') => Some(rest),
        Some(_) => None,
    }
}

/// Joins a base and a path with exactly one `/` between them: `/base/` and `/x` make `/base/x`.
fn join(base: &str, path: &str) -> String {
    let base = base.trim_end_matches('/');
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{base}{slash}{path}")
}

/// True when some reader of the path would climb out of its root: at one point there are more `..` segments than
/// others. Encoded dots and slashes count, because the server behind us may decode them before it resolves.
pub(crate) fn climbs(path: &str) -> bool {
    if !path.contains("..") && !path.contains("%2") {
        return false;
    }
    let decoded = path.replace("%2e", ".").replace("%2E", ".");
    let decoded = decoded
        .replace("%2f", "/")
        .replace("%2F", "/")
        .replace("%5c", "/")
        .replace("%5C", "/");
    let mut depth = 0i32;
    decoded.split(['/', '\\']).any(|segment| {
        // `..;x` is `..` to servers that strip path parameters.
        match segment.split(';').next().unwrap_or_default() {
            ".." => depth -= 1,
            "" | "." => {}
            _ => depth += 1,
        }
        depth < 0
    })
}

/// A prefix to take off and one to put on.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathRewrite {
    pub(crate) strip: Option<String>,
    pub(crate) add: Option<String>,
}

impl PathRewrite {
    pub(crate) fn is_noop(&self) -> bool {
        self.strip.is_none() && self.add.is_none()
    }

    /// All that was taken off a path: `before` by a router, and our own prefix.
    pub(crate) fn taken_off(&self, before: Option<&str>, path: &str) -> Option<String> {
        let own = self
            .strip
            .as_deref()
            .filter(|prefix| strip_prefix(path, prefix).is_some());
        match (before, own) {
            (None, None) => None,
            (before, own) => Some([before.unwrap_or(""), own.unwrap_or("")].concat()),
        }
    }

    /// The new path and query. A path without the prefix is kept whole, as Go's `StripPrefix` users expect of a
    /// rewrite that is not a route.
    ///
    /// # Errors
    ///
    /// 400 when the path would climb out of the prefix that is put on, or can be no path at all.
    pub(crate) fn apply(&self, from: &PathAndQuery) -> Result<PathAndQuery, Error> {
        let path = from.path();
        let stripped = self
            .strip
            .as_deref()
            .and_then(|prefix| strip_prefix(path, prefix))
            .unwrap_or(path);
        rebuild(self.add.as_deref().unwrap_or(""), stripped, from.query())
    }
}

/// The path and query below a base path.
///
/// # Errors
///
/// As [`PathRewrite::apply`].
pub(crate) fn below(base: &str, from: &PathAndQuery) -> Result<PathAndQuery, Error> {
    rebuild(base, from.path(), from.query())
}

fn rebuild(base: &str, path: &str, query: Option<&str>) -> Result<PathAndQuery, Error> {
    // The base is a boundary: what a route let through to `/app` must not reach `/admin` as `/app/../admin`.
    if climbs(path) {
        return Err(Error::bad_request("the path climbs out of its prefix"));
    }
    let mut joined = join(base, path);
    if let Some(query) = query {
        joined.push('?');
        joined.push_str(query);
    }
    PathAndQuery::try_from(joined)
        .map_err(|error| Error::bad_request("the path cannot be rewritten").with(error))
}

/// Checks a prefix that a user of the crate gives.
pub(crate) fn parse_prefix(setting: &'static str, prefix: &str) -> Result<String, Error> {
    let parsed: Result<PathAndQuery, BoxError> = match prefix.starts_with('/') {
        true => prefix.parse::<PathAndQuery>().map_err(Into::into),
        false => Err(format!("{prefix:?} must start with '/'").into()),
    };
    match parsed {
        Ok(parsed) if parsed.query().is_none() => Ok(prefix.trim_end_matches('/').to_owned()),
        Ok(_) => Err(Error::config(
            setting,
            format!("{prefix:?} must have no query"),
        )),
        Err(error) => Err(Error::config(setting, error)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewrite(strip: &str, add: &str, from: &str) -> String {
        let rewrite = PathRewrite {
            strip: Some(strip.into()),
            add: Some(add.into()),
        };
        rewrite.apply(&from.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn prefixes_end_at_segments() {
        assert_eq!(strip_prefix("/api/x", "/api"), Some("/x"));
        assert_eq!(strip_prefix("/api/x", "/api/"), Some("/x"));
        assert_eq!(strip_prefix("/api", "/api"), Some("/"));
        assert_eq!(strip_prefix("/api/", "/api"), Some("/"));
        assert_eq!(strip_prefix("/apiary", "/api"), None);
        assert_eq!(strip_prefix("/x", "/"), Some("/x"));
    }

    /// Checks 44, 47, 50.
    #[test]
    fn bytes_survive() {
        assert_eq!(rewrite("/api", "", "/api/api/x"), "/api/x");
        assert_eq!(
            rewrite("/api", "/v1/", "/api//a%2Fb;c%00?x=%zz;y"),
            "/v1//a%2Fb;c%00?x=%zz;y"
        );
        assert_eq!(rewrite("/api", "", "/api?"), "/?");
        assert_eq!(rewrite("/api", "/v1", "/other"), "/v1/other");
    }

    /// Check 45.
    #[test]
    fn nothing_climbs_out() {
        for path in [
            "/..",
            "/a/../../b",
            "/%2e%2e/b",
            "/.%2E/b",
            "/a/..%2f..%2fb",
            "/..;x/b",
            "/..\\b",
            "/a/%2E./.%2e",
        ] {
            assert!(climbs(path), "{path}");
        }
        for path in ["/", "/a/../b", "/...", "/a..b", "/..a", "/%2f", "/a/%2e/b"] {
            assert!(!climbs(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn stripping_what_was_added_gives_the_same(path in "(/[a-z%2.;=-]{0,5}){1,4}(\\?[a-z=&%]{0,6})?") {
            let from: PathAndQuery = path.parse().unwrap();
            let add = PathRewrite { strip: None, add: Some("/base".into()) };
            let strip = PathRewrite { strip: Some("/base".into()), add: None };
            match add.apply(&from) {
                Ok(longer) => {
                    prop_assert_eq!(longer.to_string(), format!("/base{path}"));
                    prop_assert_eq!(strip.apply(&longer).unwrap().to_string(), path);
                }
                Err(_) => prop_assert!(climbs(from.path())),
            }
        }
    }
}
