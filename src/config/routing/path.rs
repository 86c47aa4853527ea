//! [`PathPattern`]: which paths a route is for, by the rules of axum's router.

use matchit::{InsertError, Router};

use crate::rewrite::climbs;

/// The paths that a route is for, in one of the forms that [`matchit`] knows.
///
/// `path_prefix` has up to three of them, as a nested router of axum has: `/api`, `/api/` and `/api/{*rest}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct PathPattern {
    /// As it was written, for messages.
    pub(super) written: String,
    /// With numbers in place of the names of parameters, so that patterns for the same paths are equal.
    pub(super) text: String,
    /// Whether it comes from a prefix, so that an exact one for the same path goes first.
    pub(super) is_prefix: bool,
}

/// How specific a pattern is. Of two that match a path, the lesser is the more specific one.
///
/// As in matchit, from left to right: a text, a parameter with a text in front, a parameter, the rest of the path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Specificity(Vec<u32>);

impl PathPattern {
    /// Returns the pattern of a path as axum has it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(in crate::config) fn path(path: &str) -> Result<Self, String> {
        check(path)?;
        Ok(Self {
            written: path.to_owned(),
            text: numbered(path),
            is_prefix: false,
        })
    }

    /// Returns the patterns of a path and all below it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(in crate::config) fn prefix(prefix: &str) -> Result<Vec<Self>, String> {
        check(prefix)?;
        if prefix.contains("{*") {
            return Err(
                "a prefix has all that is below it: leave out what stands for the rest".into(),
            );
        }
        let base = numbered(prefix.trim_end_matches('/'));
        let forms = [
            base.clone(),
            format!("{base}/"),
            format!("{base}/{{*rest}}"),
        ];
        let pattern = |text: String| Self {
            written: prefix.to_owned(),
            text,
            is_prefix: true,
        };
        Ok(forms
            .into_iter()
            .filter(|text| !text.is_empty())
            .map(pattern)
            .collect())
    }

    /// Returns how specific it is.
    pub(super) fn specificity(&self) -> Specificity {
        let of_segment = |segment: &str| {
            let text = segment.replace("{{", "").replace("}}", "");
            match text.split_once('{') {
                None => 0,
                Some((_, name)) if name.starts_with('*') => u32::MAX,
                // The longer the text in front, the more specific.
                Some((before, _)) => 1 + u32::from(u16::MAX).saturating_sub(before.len() as u32),
            }
        };
        let mut parts: Vec<_> = self.text.split('/').skip(1).map(of_segment).collect();
        parts.push(self.is_prefix.into());
        Specificity(parts)
    }

    /// Returns what all paths that match begin with: the text in front of the first brace.
    pub(super) fn begins(&self) -> &str {
        self.text.split(['{', '}']).next().unwrap_or_default()
    }

    /// Returns a router that has nothing else.
    pub(super) fn alone(&self) -> Router<()> {
        let mut only = Router::new();
        // It was checked that it can be inserted.
        let _ = only.insert(self.text.clone(), ());
        only
    }

    /// Returns whether this one, alone, matches a path. `only` is a router that has nothing else.
    pub(super) fn matches(only: &Router<()>, path: &str) -> bool {
        only.at(path)
            .is_ok_and(|found| !leaves(found.params.iter().last()))
    }
}

/// Returns whether the rest of a path, if that is what the last parameter is, leads out of what is in front of it:
/// `/public/../admin` may be `/admin` to the server.
pub(super) fn leaves(last: Option<(&str, &str)>) -> bool {
    last.is_some_and(|(name, rest)| name == REST && climbs(rest))
}

/// The name of the parameter that stands for the rest of a path.
const REST: &str = "rest";

/// Checks what matchit does not check, and what can be checked without other patterns.
fn check(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!(
            "expected a path, which begins with /, found {path:?}"
        ));
    }
    if path.contains(['?', '#']) {
        return Err("a path has no query and no fragment".into());
    }
    if path
        .split('/')
        .any(|segment| segment.starts_with([':', '*']))
    {
        return Err("parameters are written {name}, and the rest of a path {*rest}".into());
    }
    match Router::new().insert(numbered(path), ()) {
        Ok(()) => Ok(()),
        Err(InsertError::InvalidCatchAll) => {
            Err("what stands for the rest, {*rest}, has to be at the end".into())
        }
        Err(InsertError::InvalidParamSegment) => {
            Err("a segment has at most one parameter, with nothing behind it".into())
        }
        Err(InsertError::InvalidParam) => {
            Err("a parameter has a name in braces: {name}; a brace itself is doubled: {{".into())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the path with a number in place of the name of each parameter, and `rest` for that of the rest.
fn numbered(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    let mut count = 0;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("{{") {
            out.push_str("{{");
            rest = &rest[2..];
            continue;
        }
        let name = rest.find('}').and_then(|end| rest.get(1..end));
        let Some(name) = name.filter(|name| !name.is_empty() && *name != "*") else {
            // It is refused as it is.
            break;
        };
        let after = name.len() + 2;
        match name.starts_with('*') {
            true => out.push_str("{*rest}"),
            false => out.push_str(&format!("{{{count}}}")),
        }
        count += 1;
        rest = &rest[after..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parameters_do_not_matter() {
        let text = |path| PathPattern::path(path).unwrap().text;
        assert_eq!(text("/a/{id}/{*x}"), "/a/{0}/{*rest}");
        assert_eq!(text("/a/{id}"), text("/a/{name}"));
        assert_eq!(text("/{{a}}/{b}"), "/{{a}}/{0}");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (path, why) in [
            ("a", "begins with /"),
            ("", "begins with /"),
            ("/a?b", "query"),
            ("/:id", "{name}"),
            ("/*rest", "{*rest}"),
            ("/{*rest}/a", "at the end"),
            ("/{}", "name"),
            ("/{a", "name"),
            ("/{*}", "name"),
            ("/{a}{b}", "at most one"),
        ] {
            let error = PathPattern::path(path).unwrap_err();
            assert!(error.contains(why), "{path}: {error}");
        }
        assert!(PathPattern::prefix("/a/{*rest}").is_err());
    }

    #[test]
    fn a_prefix_has_all_below_it() {
        let texts = |prefix| {
            let patterns = PathPattern::prefix(prefix).unwrap();
            patterns.into_iter().map(|one| one.text).collect::<Vec<_>>()
        };
        assert_eq!(texts("/api"), ["/api", "/api/", "/api/{*rest}"]);
        assert_eq!(texts("/api/"), texts("/api"));
        assert_eq!(texts("/"), ["/", "/{*rest}"]);
    }

    #[test]
    fn the_more_specific_one_is_less() {
        let ordered = [
            "/a/b",
            "/a/b-{x}",
            "/a/{x}",
            "/a/{*rest}",
            "/{x}/b",
            "/{*rest}",
        ];
        let all = ordered.map(|path| PathPattern::path(path).unwrap().specificity());
        assert!(all.is_sorted(), "{all:?}");
        let exact = PathPattern::path("/a").unwrap().specificity();
        assert!(exact < PathPattern::prefix("/a").unwrap()[0].specificity());
    }
}
