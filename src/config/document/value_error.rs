//! [`ValueError`]: what is wrong with a value of a document, in words for people.
//!
//! serde's own words name types of Rust and repeat the value. Here a value is never repeated, since it may be a secret,
//! unless it is a number that is out of its range.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use super::path::{PathPart, SettingPath};

/// What is wrong with a value, and where it is.
#[derive(Debug)]
pub(super) struct ValueError {
    message: String,
    /// From the inside to the outside, as it is completed on the way up.
    path: Vec<PathPart>,
    /// Whether the key is wrong, and not the value.
    pub(super) at_key: bool,
}

impl ValueError {
    fn new(message: String) -> Self {
        Self {
            message,
            path: Vec::new(),
            at_key: false,
        }
    }

    /// Adds the step that leads to where it has come from.
    pub(super) fn within(mut self, part: PathPart) -> Self {
        self.path.push(part);
        self
    }

    /// Notes that it is the key of an entry that is wrong.
    pub(super) fn of_key(mut self, key: &str) -> Self {
        self.at_key = true;
        self.within(PathPart::Key(key.to_owned()))
    }

    /// Returns where it is, and what is wrong.
    pub(super) fn into_parts(mut self) -> (SettingPath, String) {
        self.path.reverse();
        (self.path.into(), self.message)
    }
}

/// The similarity from which on a name is taken for another one that was misspelled, from 0 to 1.
const SIMILAR: f64 = 0.8;

/// How many names are listed, where none is similar. The names of clusters may be many more.
const MOST_NAMES: usize = 30;

/// Returns which of the names are meant, as the end of a message: the most similar one, or those of which a part is
/// similar, or all.
pub(in crate::config) fn expected(given: &str, names: &[&str]) -> String {
    let similarity = |name: &str| strsim::jaro_winkler(given, name);
    let is_similar = |name: &str| {
        let one_slip = given.len() > 2 && strsim::osa_distance(given, name) == 1;
        one_slip || similarity(name) >= SIMILAR
    };
    let nearest = names.iter().filter(|name| is_similar(name));
    let nearest = nearest.max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
    if let Some(name) = nearest {
        return format!(", expected {name:?}");
    }
    let in_part = |name: &&&str| name.split('_').any(is_similar);
    let in_part: Vec<&str> = names.iter().filter(in_part).copied().collect();
    let shown = match in_part.is_empty() {
        true => names,
        false => &in_part,
    };
    let shown: Vec<_> = shown.iter().map(|name| format!("{name:?}")).collect();
    match &shown[..] {
        [] => String::new(),
        many if many.len() > MOST_NAMES => String::new(),
        [only] => format!(", expected {only}"),
        several => format!(", expected one of {}", several.join(", ")),
    }
}

impl Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Other("integer") => {
                "a whole number"
            }
            Unexpected::Float(_) => "a number with a decimal point",
            Unexpected::Str(_) | Unexpected::Char(_) => "a string",
            Unexpected::Seq => "an array",
            Unexpected::Map => "a table",
            Unexpected::Other(other) => other,
            _ => "something else",
        };
        Self::new(format!("expected {}, found {found}", words(expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = words(expected);
        Self::new(match found {
            Unexpected::Unsigned(number) => format!("expected {expected}, found {number}"),
            Unexpected::Signed(number) => format!("expected {expected}, found {number}"),
            Unexpected::Float(number) => format!("expected {expected}, found {number}"),
            _ => format!("expected {expected}"),
        })
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {length}", words(expected)))
    }

    fn unknown_variant(variant: &str, names: &'static [&'static str]) -> Self {
        Self::new(format!(
            "unknown value {variant:?}{}",
            expected(variant, names)
        ))
    }

    fn unknown_field(field: &str, names: &'static [&'static str]) -> Self {
        Self::new(format!("unknown field {field:?}{}", expected(field, names)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing field {field:?}"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("duplicate field {field:?}"))
    }
}

/// Returns what was expected, for people who know TOML and not Rust.
fn words(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    match expected.as_str() {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number of 0 or more".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a sequence" => "an array".into(),
        "a map" => "a table".into(),
        other if other.starts_with("struct ") || other.starts_with("enum ") => "a table".into(),
        _ => expected,
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ValueError {}
