//! What is in a file: URLs, one a line, or the array `endpoints` of a TOML document.

use std::path::Path;

use serde::Deserialize;
use toml::{Spanned, Value};

use crate::{
    discover::{entry::EndpointEntry, reported::Located, set_reader::FoundSet},
    error::BoxError,
    upstream::{ClientBuilder, redacted},
};

/// A file in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointsDocument {
    /// Of any type: an entry that is not valid does not take the others along.
    endpoints: Vec<Spanned<Value>>,
}

/// Makes an endpoint of each entry of a file, which is in TOML if its name ends with `.toml`.
///
/// # Errors
///
/// The file is no TOML, or has no array `endpoints`.
pub(super) fn parse(path: &Path, text: &str, client: &ClientBuilder) -> Result<FoundSet, BoxError> {
    let is_toml = path
        .extension()
        .is_some_and(|extension| extension == "toml");
    let mut set = FoundSet::nothing(format!("{} has no endpoints", path.display()));
    let mut add = |line: usize, text: &str, endpoint: Result<Located, BoxError>| {
        set.add(
            format!("{}:{line}: {}", path.display(), redacted(text)),
            endpoint,
        );
    };
    if !is_toml {
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let entry = EndpointEntry::of_url(line);
                add(number, line, entry.located(client).map_err(Into::into));
            }
        }
        return Ok(set);
    }
    let document: EndpointsDocument = toml::from_str(text)
        .map_err(|error| format!("{}: {}", path.display(), redacted_lines(&error.to_string())))?;
    let is_stated = document.endpoints.is_empty();
    for entry in document.endpoints {
        let span = entry.span();
        let before = text.get(..span.start).unwrap_or_default();
        let shown = text.get(span).unwrap_or_default();
        let shown = shown.lines().next().unwrap_or_default().trim();
        let located = of_value(entry.into_inner())
            .and_then(|entry| entry.located(client).map_err(Into::into));
        add(before.matches('\n').count() + 1, shown, located);
    }
    if is_stated {
        set.doubt = None;
    }
    Ok(set)
}

/// Returns an error of TOML, which has the line that it is about.
fn redacted_lines(error: &str) -> String {
    let lines: Vec<_> = error.lines().map(redacted).collect();
    lines.join("\n")
}

/// Reads an entry of the array: a string, or a table.
fn of_value(value: Value) -> Result<EndpointEntry, BoxError> {
    match value {
        Value::String(url) => Ok(EndpointEntry::of_url(url)),
        // The message alone: its place is that of the entry.
        table @ Value::Table(_) => table
            .try_into()
            .map_err(|error| redacted(error.message()).into()),
        other => {
            let found = other.type_str();
            Err(format!("a URL or a table is expected, and not a value of type {found}").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the endpoints of a file, with their settings, and the entries that were skipped, with their causes.
    fn parsed(text: &str) -> (Vec<(String, u32, u8)>, Vec<String>) {
        let set = parse(Path::new("a.toml"), text, &ClientBuilder::default()).unwrap();
        let endpoint = |located: &Located| {
            let (weight, priority) = located.spec.settings();
            (located.spec.name().to_owned(), weight, priority)
        };
        let skipped = |skipped: &crate::discover::set_reader::SkippedEntry| {
            format!("{}: {}", skipped.entry, skipped.cause)
        };
        (
            set.endpoints.iter().map(endpoint).collect(),
            set.skipped.iter().map(skipped).collect(),
        )
    }

    #[test]
    fn strings_and_tables_are_endpoints() {
        let array = r#"endpoints = [
            "http://a",
            "http://b;weight=2", # a comment
            { url = "http://c", weight = 3, priority = 1 },
        ]"#;
        let tables = "[[endpoints]]\nurl = 'http://a'\n[[endpoints]]\nurl = 'http://b;weight=9'\nweight = 2\n\
                      [[endpoints]]\npriority = 1\nurl = 'http://c'\nweight = 3\n";
        let expected = [("http://a", 1, 0), ("http://b", 2, 0), ("http://c", 3, 1)];
        let expected = expected.map(|(name, weight, tier)| (name.to_owned(), weight, tier));
        for text in [array, tables] {
            assert_eq!(parsed(text), (expected.to_vec(), Vec::new()), "{text}");
        }
    }

    /// Each entry that is not valid is named by its line and by what is wrong.
    #[test]
    fn what_is_no_endpoint_is_skipped() {
        let text = "# 1\nendpoints = [\n  \"nonsense\",\n  \"http://a\", 7,\n  { url = \"http://b\", wieght = 2 },\n\
                    { weight = 2 },\n{ url = \"http://c\", weight = 0 }, { url = \"http://d\", priority = 256 },\n]\n";
        let (endpoints, skipped) = parsed(text);
        assert_eq!(endpoints, [("http://a".to_owned(), 1, 0)]);
        let expected = [
            ("a.toml:3: \"nonsense\": ", "nonsense"),
            ("a.toml:4: 7: ", "integer"),
            (
                "a.toml:5: { url = \"http://b\", wieght = 2 }: ",
                "unknown field `wieght`, expected one of `url`",
            ),
            ("a.toml:6: { weight = 2 }: ", "missing field `url`"),
            (
                "a.toml:7: { url = \"http://c\", weight = 0 }: ",
                "endpoint weight",
            ),
            ("a.toml:7: { url = \"http://d\", priority = 256 }: ", "256"),
        ];
        assert_eq!(skipped.len(), expected.len(), "{skipped:?}");
        for (skipped, (begins, contains)) in skipped.iter().zip(expected) {
            assert!(skipped.starts_with(begins), "{skipped}");
            assert!(skipped.contains(contains), "{skipped}");
        }
        let (_, skipped) =
            parsed("[[endpoints]]\nurl = 'http://a'\n\n[[endpoints]]\nurl = 'nonsense'\n");
        assert!(
            skipped[0].starts_with("a.toml:4: [[endpoints]]: "),
            "{skipped:?}"
        );
    }

    #[test]
    fn passwords_are_not_shown() {
        let toml = "endpoints = [\n'http://user:secret@a',\n{ url = 'http://user:secret@a' },\n\
                    { url = 'http://a', weight = 'http://user:secret@a' },\n{ url = 'user:secret@a' }]";
        let lines = "http://user:secret@a\nuser:secret@a\nhttp://user:sec/secret@a;weight=2\nhttp://user:secret @a";
        for (path, text) in [("a.toml", toml), ("a@b/endpoints", lines)] {
            let set = parse(Path::new(path), text, &ClientBuilder::default()).unwrap();
            assert_eq!(set.skipped.len(), 4);
            for skipped in set.skipped {
                assert!(skipped.entry.starts_with(path), "{}", skipped.entry);
                let shown = format!("{}: {:?}", skipped.entry, skipped.cause);
                assert!(
                    !shown.contains("secret") && shown.contains("***@a"),
                    "{shown}"
                );
            }
        }
        let cut_off = "endpoints = ['http://user:secret@a', 'http://b]";
        let error = parse(Path::new("a.toml"), cut_off, &ClientBuilder::default());
        let error = error.err().unwrap().to_string();
        assert!(
            !error.contains("secret") && error.contains("line 1"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        for (text, expected) in [
            ("endpoints = [\"http://a\",", "line 1"),
            ("[[endpoints]]\nurl = \"http://a", "line 2"),
            ("endpoints = 'http://a'", "expected a sequence"),
            ("servers = ['http://a']", "unknown field `servers`"),
            ("", "missing field `endpoints`"),
        ] {
            let error = parse(Path::new("a.toml"), text, &ClientBuilder::default());
            let error = error.err().unwrap().to_string();
            assert!(
                error.starts_with("a.toml: ") && error.contains(expected),
                "{error}"
            );
        }
    }

    /// An array without entries states that there are no endpoints. One with bad entries alone does not.
    #[test]
    fn an_empty_array_is_a_statement() {
        let doubt = |text| {
            parse(Path::new("a.toml"), text, &ClientBuilder::default())
                .unwrap()
                .doubt
        };
        assert!(doubt("endpoints = []").is_none());
        assert!(doubt("endpoints = ['nonsense']").is_some());
    }
}
