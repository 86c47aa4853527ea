//! Paths: removes a prefix, adds a prefix, and guards both against `..`.
//!
//! Paths are rewritten byte for byte. Nothing is decoded or normalised: `%2F` stays `%2F`, `//` stays `//`, and an
//! empty query keeps its `?`. A proxy that normalises changes what the endpoint is asked for, and one that decodes has
//! to encode again, which cannot be done without loss.
//!
//! The price is that `/api/../admin` begins with `/api` and may still mean `/admin` to the endpoint. So wherever a
//! prefix is a boundary, a path that could leave it is refused: see [`climbs`].

use std::{fmt, sync::Arc};

use http::uri::PathAndQuery;

use crate::error::{BoxError, Error};

/// Returns what follows `prefix` in `path` if the prefix ends at the end of a segment, and `None` otherwise. A trailing
/// `/` of the prefix is ignored.
///
/// ```text
/// prefix = /api
/// path   = /api/users     -> /users
///          ^^^^ removed
/// path   = /apiary        -> None: the prefix ends inside a segment
/// path   = /api           -> /: a path is never empty
/// ```
pub(crate) fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
    match rest.as_bytes().first() {
        None => Some("/"),
        Some(b'/') => Some(rest),
        Some(_) => None,
    }
}

/// Joins a base and a path with exactly one `/` between them: `/base/` and `/x` become `/base/x`.
fn join(base: &str, path: &str) -> String {
    let base = base.trim_end_matches('/');
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{base}{slash}{path}")
}

/// Returns whether some server would read the path as one that leaves its root: at some point it has gone up more often
/// than down.
///
/// Servers differ in what they take for `..`, and the server that will read this path is not known here. Those in use
/// decode `%2e`, `%2f` and `%5c` once, or twice (CVE-2020-5410, CVE-2021-42013), as do a proxy that decodes and a
/// server behind it together; they split at backslashes; and they strip parameters, so that `..;x` is `..`. The path is
/// judged by the worst of all readings: what any server takes for `..` is a step up, and only what every server takes
/// for a step down is one.
///
/// ```text
/// /a%2fb/../../x     climbs: a server that does not decode %2f goes down once and up twice
/// /a/%252e%252e/..   climbs: a server that decodes twice goes down once and up twice
/// ```
///
/// Overlong UTF-8 (`%c0%ae`) does not count as a dot: no server that is still maintained decodes it. The check can
/// refuse a path that the endpoint would have read as harmless, and therefore runs only where a prefix is a boundary.
pub(crate) fn climbs(path: &str) -> bool {
    // Nearly every path: without a dot pair and without encoding it cannot climb.
    if !path.contains("..") && !path.contains('%') {
        return false;
    }
    let mut depth = 0usize;
    let mut decoded = Vec::new();
    for segment in path.split('/') {
        decode(segment.as_bytes(), &mut decoded);
        let pieces = || decoded.split(|byte| matches!(byte, b'/' | b'\\'));
        let ups = pieces().filter(|piece| without_parameters(piece) == b"..");
        match depth.checked_sub(ups.count()) {
            None => return true,
            Some(left) if left < depth => depth = left,
            Some(_) if is_down(&decoded) => depth += 1,
            Some(_) => {}
        }
    }
    false
}

/// Returns whether every server takes a segment without `..` for a step down: none takes it for empty or for a single
/// dot.
///
/// `a%2fb` counts as one step, although it is two for a server that decodes.
fn is_down(decoded: &[u8]) -> bool {
    let mut pieces = without_parameters(decoded).split(|byte| matches!(byte, b'/' | b'\\'));
    pieces.any(|piece| !matches!(piece, b"" | b"."))
}

/// Returns a segment without its parameters: `a;x=1` is `a` (RFC 3986 3.3).
fn without_parameters(segment: &[u8]) -> &[u8] {
    segment
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
}

/// Decodes a segment until nothing in it is encoded any more: `%252e` and `%%32%65` both become a dot.
///
/// A decoded byte may complete another escape in front of it, so the end of the output is looked at again after each.
/// Each such step shortens the output, so the time is linear in the segment's length however often it is encoded.
fn decode(segment: &[u8], decoded: &mut Vec<u8>) {
    decoded.clear();
    for byte in segment {
        decoded.push(*byte);
        while let [.., b'%', high, low] = decoded[..] {
            let (Some(high), Some(low)) = (hex(high), hex(low)) else {
                break;
            };
            decoded.truncate(decoded.len() - 3);
            decoded.push(high << 4 | low);
        }
    }
}

/// Returns the value of a hexadecimal digit.
fn hex(digit: u8) -> Option<u8> {
    // Always below 16, so the conversion cannot fail.
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// How the path of a request is rewritten: a prefix to remove, a prefix to add, and the user's hooks, in this order.
#[derive(Clone, Default)]
pub(crate) struct PathRewrite {
    /// The prefix to remove, as [`parse_prefix`] returns it.
    pub(crate) strip: Option<String>,
    /// The prefix to add, as [`parse_prefix`] returns it.
    pub(crate) add: Option<String>,
    /// The user's changes, each applied to the result of the one before.
    pub(crate) hooks: Vec<PathHook>,
}

/// A user's change of a path; `None` leaves it as it is.
pub(crate) type PathHook = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl PathRewrite {
    /// Returns whether no path is changed.
    pub(crate) fn is_noop(&self) -> bool {
        self.strip.is_none() && self.add.is_none() && self.hooks.is_empty()
    }

    /// Returns everything that was removed from the front of a path, for `X-Forwarded-Prefix`: `before` by a router,
    /// and the prefix that this rewrite removes from `path`. `None` if nothing was.
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

    /// Returns the new path and query.
    ///
    /// A path that does not begin with the prefix to remove keeps all of its segments. This is a rewrite and not a
    /// route: Go's `StripPrefix`, which is both, answers 404.
    ///
    /// The query is never changed.
    ///
    /// # Errors
    ///
    /// Returns a 400 if the path could leave the prefix that is added, or is not a valid path, and a 500 if a hook
    /// returns something that is not a path.
    pub(crate) fn apply(&self, from: &PathAndQuery) -> Result<PathAndQuery, Error> {
        let path = from.path();
        let stripped = self
            .strip
            .as_deref()
            .and_then(|prefix| strip_prefix(path, prefix))
            .unwrap_or(path);
        let added = rebuild(self.add.as_deref().unwrap_or(""), stripped, from.query())?;
        self.hooks
            .iter()
            .try_fold(added, |path, hook| change(hook, path))
    }
}

/// Applies one hook, and keeps the query.
///
/// # Errors
///
/// Returns a 500 if the hook returns something that is not a path: the fault is in the configuration, not in the
/// request.
fn change(hook: &PathHook, from: PathAndQuery) -> Result<PathAndQuery, Error> {
    const NO_PATH: &str =
        "rewrite_path returned no path: it must begin with '/', and hold no query";
    let Some(mut path) = hook(from.path()) else {
        return Ok(from);
    };
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return Err(Error::hook(NO_PATH));
    }
    if let Some(query) = from.query() {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::try_from(path).map_err(|error| Error::hook(NO_PATH).with(error))
}

impl fmt::Debug for PathRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { strip, add, hooks } = self;
        f.debug_struct("PathRewrite")
            .field("strip", strip)
            .field("add", add)
            .field("hooks", &hooks.len())
            .finish()
    }
}

/// Returns a path and query below a base path, as in an endpoint's URL.
///
/// # Errors
///
/// Those of [`PathRewrite::apply`].
pub(crate) fn below(base: &str, from: &PathAndQuery) -> Result<PathAndQuery, Error> {
    rebuild(base, from.path(), from.query())
}

/// Joins a base, a path and a query.
///
/// # Errors
///
/// Returns a 400 if the path could leave the base, or if the result is not a valid path.
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

/// Checks a prefix that a user sets, and returns it without a trailing `/`.
///
/// # Errors
///
/// Returns a config error that names `setting` if the prefix does not begin with `/`, is not a valid path, or has a
/// query or a fragment.
pub(crate) fn parse_prefix(setting: &'static str, prefix: &str) -> Result<String, Error> {
    let parsed: Result<PathAndQuery, BoxError> = match prefix.starts_with('/') {
        true => prefix.parse::<PathAndQuery>().map_err(Into::into),
        false => Err(format!("{prefix:?} must start with '/'").into()),
    };
    match parsed {
        Ok(_) if !prefix.contains(['?', '#']) => Ok(prefix.trim_end_matches('/').to_owned()),
        Ok(_) => Err(Error::config(
            setting,
            format!("{prefix:?} must have no query and no fragment"),
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
            hooks: Vec::new(),
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
        for path in [
            "/",
            "/a/../b",
            "/...",
            "/a..b",
            "/..a",
            "/%2f",
            "/a/%2e/b",
            "/a/b%2fc/../..",
            "/a%20b/%zz/%",
            "/a/..;x/b",
            "/100%25/..",
        ] {
            assert!(!climbs(path), "{path}");
        }
    }

    /// Paths that climb only when they are decoded twice, or by two servers in a row.
    #[test]
    fn nothing_climbs_out_when_it_is_decoded_again() {
        for path in [
            "/%252e%252e/b",
            "/%25252e%25252e/b",
            "/..%252fb",
            "/..%255cb",
            "/%%32%65%%32%65/b",
            "/.%252e%252fb",
            "/..%3bx/b",
            "/..%253bx/b",
            "/%252e%252e%253b/b",
        ] {
            assert!(climbs(path), "{path}");
        }
    }

    /// A segment that is one step for one server is two steps for another, or none.
    #[test]
    fn the_worst_reading_counts() {
        for path in [
            "/a%2fb/../../c",
            "/a%252fb/../../c",
            "/a\\b/../../c",
            "/a%5cb/../../c",
            "/;a/../b",
            "/;a%2fb/../c",
            "/%2e/../b",
            "//../b",
        ] {
            assert!(climbs(path), "{path}");
        }
    }

    /// Encoded many times over, it is still decoded in one pass.
    #[test]
    fn decoding_shortens_at_each_step() {
        let mut decoded = Vec::new();
        let path = format!("%{}2e", "25".repeat(30_000));
        decode(path.as_bytes(), &mut decoded);
        assert_eq!(decoded, b".");
        assert!(decoded.capacity() < 2 * path.len());
    }

    proptest! {
        #[test]
        fn stripping_what_was_added_gives_the_same(path in "(/[a-z%2.;=-]{0,5}){1,4}(\\?[a-z=&%]{0,6})?") {
            let from: PathAndQuery = path.parse().unwrap();
            let add = PathRewrite { add: Some("/base".into()), ..PathRewrite::default() };
            let strip = PathRewrite { strip: Some("/base".into()), ..PathRewrite::default() };
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
