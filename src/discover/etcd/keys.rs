//! The keys of a prefix, and the endpoints that their values are.

use std::collections::BTreeMap;

use super::messages::KeyChange;
use crate::{
    discover::{entry::EndpointEntry, reported::Located, set_reader::FoundSet},
    error::BoxError,
    upstream::{ClientBuilder, redacted},
};

/// The most bytes that all keys and values have together.
const LARGEST: usize = 64 << 20;

/// How many characters of a value a warning shows.
const SHOWN: usize = 100;

/// The keys and their values.
#[derive(Debug, Default)]
pub(super) struct PrefixKeys {
    values: BTreeMap<Vec<u8>, String>,
    /// How many bytes they have.
    size: usize,
}

impl PrefixKeys {
    /// Applies a change. Returns whether it has changed anything.
    ///
    /// # Errors
    ///
    /// They are too large. The prefix is probably not one of endpoints.
    pub(super) fn apply(&mut self, change: KeyChange) -> Result<bool, BoxError> {
        let KeyChange { key, value } = change;
        let before = self.values.remove(&key);
        if let Some(before) = &before {
            self.size -= key.len() + before.len();
        }
        let is_other = before != value;
        if let Some(value) = value {
            self.size += key.len() + value.len();
            self.values.insert(key, value);
        }
        match self.size {
            ..=LARGEST => Ok(is_other),
            _ => Err(format!("the keys have more than {LARGEST} bytes").into()),
        }
    }

    /// Makes an endpoint of each value.
    pub(super) fn endpoints(&self, client: &ClientBuilder, nothing: String) -> FoundSet {
        let mut set = FoundSet::nothing(nothing);
        for (key, value) in &self.values {
            let shown = shown(&redacted(value));
            let entry = format!("{}: {shown}", String::from_utf8_lossy(key));
            set.add(entry, endpoint(value.trim(), client));
        }
        set
    }
}

/// Cuts off what is too long of a value.
fn shown(value: &str) -> String {
    let mut shown: String = value.chars().take(SHOWN).collect();
    if shown.len() < value.len() {
        shown += "…";
    }
    shown
}

/// Describes the endpoint that a value is: a URL, or a table in JSON.
fn endpoint(value: &str, client: &ClientBuilder) -> Result<Located, BoxError> {
    let entry = match value.starts_with('{') {
        // The message may have a part of the value.
        true => serde_json::from_str(value)
            .map_err(|error| redacted(&error.to_string()).into_owned())?,
        false => EndpointEntry::of_url(value),
    };
    Ok(entry.located(client)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, value: Option<&str>) -> KeyChange {
        KeyChange {
            key: key.into(),
            value: value.map(str::to_owned),
        }
    }

    #[test]
    fn values_are_urls_or_tables() {
        let mut keys = PrefixKeys::default();
        let json = r#" {"url": "http://c", "weight": 3, "priority": 1} "#;
        let long = "x".repeat(1000);
        for (key, value) in [
            ("/a", "http://a"),
            ("/b", "http://b;weight=2\n"),
            ("/c", json),
            ("/d", "nonsense"),
            ("/e", r#"{"host": "e"}"#),
            ("/f", "{"),
            ("/g", ""),
            ("/h", &long),
            ("/i", r#"{"url": "http://i", "weight": 0}"#),
        ] {
            keys.apply(change(key, Some(value))).unwrap();
        }
        let set = keys.endpoints(&ClientBuilder::default(), String::new());
        let endpoints = set.endpoints.iter();
        let endpoints: Vec<_> = endpoints
            .map(|located| (located.spec.name(), located.spec.settings()))
            .collect();
        let expected = [
            ("http://a", (1, 0)),
            ("http://b", (2, 0)),
            ("http://c", (3, 1)),
        ];
        assert_eq!(endpoints, expected);
        let skipped: Vec<_> = set.skipped.iter().map(|skipped| &*skipped.entry).collect();
        assert_eq!(skipped.len(), 6);
        assert_eq!(skipped[0], "/d: nonsense");
        assert!(
            set.skipped[1]
                .cause
                .to_string()
                .contains("unknown field `host`")
        );
        assert_eq!(skipped[4].chars().count(), 4 + SHOWN + 1);
    }

    #[test]
    fn passwords_are_not_shown() {
        let mut keys = PrefixKeys::default();
        let long = format!("http://user:secret{}@a", "x".repeat(SHOWN));
        for (key, value) in [
            ("/a", "http://user:secret@a"),
            ("/b", r#"{"url": "http://user:secret@a"}"#),
            (
                "/c",
                r#"{"url": "http://a", "weight": "http://user:secret@a"}"#,
            ),
            ("/d", "user:secret@a"),
            ("/e", &long),
        ] {
            keys.apply(change(key, Some(value))).unwrap();
        }
        let set = keys.endpoints(&ClientBuilder::default(), String::new());
        assert_eq!(set.skipped.len(), 5);
        for skipped in set.skipped {
            let shown = format!("{}: {:?}", skipped.entry, skipped.cause);
            assert!(
                !shown.contains("secret") && shown.contains("***@a"),
                "{shown}"
            );
        }
    }

    #[test]
    fn keys_go_and_come() {
        let mut keys = PrefixKeys::default();
        for (value, is_other) in [
            (Some("http://a"), true),
            (Some("http://a"), false),
            (Some("http://b"), true),
            (None, true),
            (None, false),
        ] {
            assert_eq!(keys.apply(change("/a", value)).unwrap(), is_other);
        }
        assert_eq!((keys.values.len(), keys.size), (0, 0));
        let huge = "x".repeat(LARGEST / 2);
        keys.apply(change("/a", Some(&huge))).unwrap();
        // It takes the place of the one before.
        keys.apply(change("/a", Some(&huge))).unwrap();
        assert!(keys.apply(change("/b", Some(&huge))).is_err());
    }
}
