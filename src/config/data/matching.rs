//! [`MatchConfig`]: which requests a route takes.

use std::{collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{
        Error, MapAccess, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
};

use super::{
    list::{one_or_many, one_or_many_schema},
    text_source::TextSource,
};

/// Which requests a route takes: those for which each condition holds that is there. Of several hosts, paths or
/// methods, one has to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MatchConfig {
    /// The host, with or without a port: "example.com", or "*.example.com" for all below it.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(schema_with = "one_or_many_schema")]
    pub host: Vec<String>,
    /// The path, as axum's routes have it: "/users/{id}", "/files/{*rest}".
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(schema_with = "one_or_many_schema")]
    pub path: Vec<String>,
    /// The path and everything below it: "/api" takes /api, /api/ and /api/users, and not /apiary.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(schema_with = "one_or_many_schema")]
    pub path_prefix: Vec<String>,
    /// The method. GET includes HEAD.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(schema_with = "one_or_many_schema")]
    pub method: Vec<String>,
    /// Header fields: a value that one line of the field has, true for any, false for none.
    pub header: BTreeMap<String, HeaderCondition>,
}

/// A condition on a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderCondition {
    /// The field is there: `true`.
    Present,
    /// The field is not there: `false`.
    Absent,
    /// A line of the field has this value.
    Equals(TextSource),
}

impl<'de> Deserialize<'de> for HeaderCondition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ConditionVisitor;

        impl<'de> Visitor<'de> for ConditionVisitor {
            type Value = HeaderCondition;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, true or false")
            }

            fn visit_bool<E: Error>(self, present: bool) -> Result<HeaderCondition, E> {
                Ok(match present {
                    true => HeaderCondition::Present,
                    false => HeaderCondition::Absent,
                })
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<HeaderCondition, E> {
                TextSource::deserialize(StrDeserializer::new(value)).map(HeaderCondition::Equals)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HeaderCondition, A::Error> {
                let value = TextSource::deserialize(MapAccessDeserializer::new(map));
                value.map(HeaderCondition::Equals)
            }
        }

        deserializer.deserialize_any(ConditionVisitor)
    }
}

impl JsonSchema for HeaderCondition {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HeaderCondition".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<TextSource>();
        json_schema!({ "anyOf": [{ "type": "boolean" }, value] })
    }
}
