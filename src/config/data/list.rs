//! Lists of strings of which one alone needs no brackets, and strings that may be numbers.

use std::{fmt, marker::PhantomData};

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{
        Error, SeqAccess, Visitor,
        value::{SeqAccessDeserializer, StrDeserializer},
    },
};

/// Deserializes a list, or one string as a list of one.
pub(super) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(ListVisitor(PhantomData))
}

/// Returns what [`one_or_many`] takes.
pub(super) fn one_or_many_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "type": "string" } },
    ] })
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E: Error>(self, one: &str) -> Result<Vec<T>, E> {
        T::deserialize(StrDeserializer::new(one)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, many: A) -> Result<Vec<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(many))
    }
}

/// Deserializes a string, or a number as one.
pub(super) fn number_or_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    struct PortVisitor;

    impl Visitor<'_> for PortVisitor {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a number")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Option<String>, E> {
            Ok(Some(text.to_owned()))
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Option<String>, E> {
            Ok(Some(number.to_string()))
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Option<String>, E> {
            Ok(Some(number.to_string()))
        }
    }

    deserializer.deserialize_any(PortVisitor)
}

/// Returns what [`number_or_text`] takes.
pub(super) fn number_or_text_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] })
}
