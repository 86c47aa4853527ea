//! What may be shown of a URL that a user or a registry has written: not its user and password.

use std::borrow::Cow;

/// Returns a URL, or a text that contains one, with everything that may be a user and a password replaced by `***`.
///
/// It is for URLs that are refused, for which there is no parser. So this does not rely on where an authority ends by
/// the rules: a password may hold a `/` that was not encoded, and the scheme may be missing. Everything from the first
/// `://`, or from the beginning if there is none, up to the last `@` is replaced. A path with an `@` is cut, too.
pub(crate) fn redacted(text: &str) -> Cow<'_, str> {
    let Some(at) = text.rfind('@') else {
        return text.into();
    };
    let before = &text[..at];
    // A `://` behind an `@`, or behind a `:` that is no part of one, may belong to a password.
    let scheme = before.find("://").map(|scheme| &before[..scheme]);
    let kept = scheme.filter(|scheme| {
        let before = scheme.trim_end_matches(|c: char| c.is_ascii_alphanumeric());
        !scheme.contains('@') && !before.ends_with(':')
    });
    let kept = kept.map_or("", |scheme| &before[..scheme.len() + "://".len()]);
    format!("{kept}***{}", &text[at..]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords_are_not_shown() {
        for (text, shown) in [
            ("http://a:80/b", "http://a:80/b"),
            ("http://user:secret@a:80/b", "http://***@a:80/b"),
            ("http://secret@a", "http://***@a"),
            ("user:secret@a:80", "***@a:80"),
            ("http://user:sec@ret@a", "http://***@a"),
            ("http://user:sec/ret?#@a", "http://***@a"),
            ("http://user:http://secret@a", "http://***@a"),
            ("user:secret://x@a", "***@a"),
            ("user@secret://x@a", "***@a"),
            ("http:user:secret@a", "***@a"),
            ("http://a/b@c", "http://***@c"),
            (
                r#"{"url": "http://user:secret@a", "weight": 2}"#,
                r#"{"url": "http://***@a", "weight": 2}"#,
            ),
            ("@", "***@"),
            ("", ""),
            ("ü:ß@é", "***@é"),
            ("éhttp://user:secret@a", "éhttp://***@a"),
        ] {
            assert_eq!(redacted(text), shown, "{text}");
        }
    }
}
