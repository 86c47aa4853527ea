//! A document in TOML: its values, and on which line each setting is.
//!
//! - `path` leads to a setting.
//! - `deserializer` makes data of a value, `value_error` says what is wrong with one.
//! - [`Document`] parses, and collects all that is wrong at once: whatever is refused is left out, and the rest is
//!   deserialized again.

mod deserializer;
mod left_out;
mod node;
mod path;
mod value_error;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::de::DeTable;

use self::{
    deserializer::ValueDeserializer,
    left_out::LeftOut,
    node::{Node, NodeEntry, NodeValue},
    path::PathPart,
};
pub(super) use self::{path::SettingPath, value_error::expected};
use super::error::{ConfigError, ConfigProblem};

/// How many problems of one section are looked for. A file with more is of another kind.
const MOST: usize = 100;

/// A document that could be parsed.
pub(super) struct Document {
    file: Option<PathBuf>,
    text: String,
    root: NodeValue,
}

/// A problem of a setting that is in a document.
#[derive(Debug)]
pub(super) struct FoundProblem {
    pub(super) path: SettingPath,
    pub(super) message: String,
    /// Whether the name of the setting is wrong, and not its value.
    pub(super) at_key: bool,
    /// Another setting that the message is about, which is named between the message and this.
    pub(super) beside: Option<(SettingPath, String)>,
}

impl FoundProblem {
    /// Returns a problem of a value.
    pub(super) fn new(path: SettingPath, message: String) -> Self {
        Self {
            path,
            message,
            at_key: false,
            beside: None,
        }
    }

    /// Returns whether another problem is there only because this setting was left out.
    pub(super) fn is_why(&self, other: &Self) -> bool {
        let is_near = |path: &SettingPath| {
            self.path.has(path) || self.path.parent().is_some_and(|parent| parent == *path)
        };
        is_near(&other.path) || other.beside.as_ref().is_some_and(|(path, _)| is_near(path))
    }

    /// Returns the problem of data that is in no document.
    pub(super) fn without_document(self) -> ConfigProblem {
        ConfigProblem {
            file: None,
            line: None,
            column: None,
            message: self.words(|_| None),
            setting: self.path.to_string(),
        }
    }

    /// Returns the whole message, with the line of the other setting.
    fn words(&self, line: impl Fn(&SettingPath) -> Option<usize>) -> String {
        let message = &self.message;
        match &self.beside {
            None => message.clone(),
            Some((other, end)) => match line(other) {
                Some(line) => format!("{message} {other} (line {line}){end}"),
                None => format!("{message} {other}{end}"),
            },
        }
    }
}

impl Document {
    /// Parses a text, which was read from `file`.
    ///
    /// # Errors
    ///
    /// All places where it is not TOML.
    pub(super) fn parse(text: String, file: Option<&Path>) -> Result<Self, ConfigError> {
        let file = file.map(Path::to_owned);
        let (root, errors) = DeTable::parse_recoverable(&text);
        let problem = |error: &toml::de::Error| {
            let (line, column) = place(&text, error.span().map_or(0, |span| span.start));
            ConfigProblem {
                file: file.clone(),
                line: Some(line),
                column: Some(column),
                setting: String::new(),
                message: error.message().to_owned(),
            }
        };
        if !errors.is_empty() {
            return Err(ConfigError::new(errors.iter().map(problem).collect()));
        }
        Ok(Self {
            root: Node::table(root.get_ref()),
            file,
            text,
        })
    }

    /// Returns the file.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns the keys at the top.
    pub(super) fn names(&self) -> Vec<&str> {
        let keys = self.table().into_iter().flat_map(BTreeMap::keys);
        keys.map(String::as_str).collect()
    }

    /// Returns whether something is at a path.
    pub(super) fn contains(&self, path: &SettingPath) -> bool {
        self.walk(path).1
    }

    /// Makes data of what is at the top under `key`, `None` if there is nothing or it cannot be used at all.
    ///
    /// What is wrong is left out of the data, and added to `problems`.
    pub(super) fn section<T: DeserializeOwned>(
        &self,
        key: &str,
        problems: &mut Vec<FoundProblem>,
    ) -> Option<T> {
        let value = &self.table()?.get(key)?.value.value;
        let start = SettingPath::default().key(key);
        let mut without = LeftOut::default();
        let mut left_out: Vec<SettingPath> = Vec::new();
        while left_out.len() < MOST {
            let deserializer = ValueDeserializer {
                value,
                without: Some(&without),
            };
            let error = match T::deserialize(deserializer) {
                Ok(data) => return Some(data),
                Err(error) => error,
            };
            let at_key = error.at_key;
            let (inside, message) = error.into_parts();
            // Of a choice, the wrong one cannot be left out, but the choice can.
            let known = left_out.contains(&inside);
            let gone = if known {
                inside.parent()?
            } else {
                inside.clone()
            };
            let problem = FoundProblem {
                at_key,
                ..FoundProblem::new(start.join(&inside), message)
            };
            // What is missing now may be what was left out.
            if !known && !problems.iter().any(|other| other.is_why(&problem)) {
                problems.push(problem);
            }
            if gone == SettingPath::default() {
                return None;
            }
            without.add(&gone);
            left_out.push(gone);
        }
        None
    }

    /// Returns a problem with its place in the text: that of the setting or, if it is not there, of what it is missing
    /// from.
    pub(super) fn located(&self, mut found: FoundProblem) -> ConfigProblem {
        if let Some(default) = self.default_of(&found.path) {
            found.path = default;
        }
        let (line, column) = self.place_of(&found.path, found.at_key);
        let message = found.words(|other| Some(self.place_of(other, true).0));
        // The message names the key.
        let outside = found.path.parent().filter(|_| found.at_key);
        ConfigProblem {
            file: self.file.clone(),
            line: Some(line),
            column: Some(column),
            setting: outside.unwrap_or(found.path).to_string(),
            message,
        }
    }

    /// Returns the line and the column of a setting or, if it is not there, of what it is missing from.
    fn place_of(&self, path: &SettingPath, at_key: bool) -> (usize, usize) {
        let (places, is_there) = self.walk(path);
        let Some((key, value)) = places else {
            return (1, 1);
        };
        let span = if at_key || !is_there { key } else { value };
        place(&self.text, span.start)
    }

    /// Returns the path to the default that a setting was taken from. `None` if it was not.
    fn default_of(&self, path: &SettingPath) -> Option<SettingPath> {
        let default = path.default_section()?;
        (!self.contains(path) && self.contains(&default)).then_some(default)
    }

    /// Returns what is at the top.
    fn table(&self) -> Option<&BTreeMap<String, NodeEntry>> {
        match &self.root {
            NodeValue::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Returns where the setting at a path is, its key and its value, or else the innermost one around it that is
    /// there; and whether it is the setting itself.
    fn walk(&self, path: &SettingPath) -> (Option<KeyAndValue>, bool) {
        let mut at = &self.root;
        let mut places = None;
        for part in path.parts() {
            let next = match (part, at) {
                (PathPart::Key(key), NodeValue::Table(table)) => {
                    table.get(key).map(|entry| (&entry.key, &entry.value))
                }
                (PathPart::Item(position), NodeValue::Array(array)) => {
                    array.get(*position).map(|value| (&value.span, value))
                }
                // One alone need not be in an array.
                (PathPart::Item(0), NodeValue::String(_)) => continue,
                _ => None,
            };
            let Some((key, value)) = next else {
                return (places, false);
            };
            places = Some((key.clone(), value.span.clone()));
            at = &value.value;
        }
        (places, true)
    }
}

/// Where a key and its value are.
type KeyAndValue = (Range<usize>, Range<usize>);

/// Returns the line and the column of an offset, both from 1. A column is a character.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

impl fmt::Debug for Document {
    /// Leaves the text out, in which there may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
