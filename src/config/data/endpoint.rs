//! [`EndpointConfig`]: one endpoint of a cluster.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// An endpoint of a cluster: a URL alone, with its options, or a table.
///
/// As [`EndpointSpec`](crate::EndpointSpec) has it, but that a weight of 0 is allowed: the endpoint gets no new
/// requests then, and keeps its connections.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct EndpointConfig {
    /// `http://`, `https://` or `h2c://`, a host, a port and a base path; or `unix:` and the path of a socket. It may
    /// end with `;weight=N`.
    pub url: String,
    /// How many requests the endpoint gets in proportion to the others. Default: 1.
    pub weight: Option<u32>,
    /// The tier of the endpoint: 0, the default, is used first.
    pub priority: Option<u8>,
    /// The name in logs and in the status. Default: the URL.
    pub name: Option<String>,
}

impl From<&str> for EndpointConfig {
    fn from(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..Self::default()
        }
    }
}

/// An endpoint, given by a URL or by a table.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct EndpointTable {
    /// `http://`, `https://` or `h2c://`, a host, a port and a base path; or unix: and the path of a socket.
    url: String,
    /// How many requests the endpoint gets in proportion to the others. Default: 1. With 0 it gets no new ones.
    weight: Option<u32>,
    /// The tier of the endpoint: 0, the default, is used first.
    priority: Option<u8>,
    /// The name in logs and in the status. Default: the URL.
    name: Option<String>,
}

impl<'de> Deserialize<'de> for EndpointConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EndpointVisitor;

        impl<'de> Visitor<'de> for EndpointVisitor {
            type Value = EndpointConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or a table with \"url\"")
            }

            fn visit_str<E: Error>(self, url: &str) -> Result<EndpointConfig, E> {
                Ok(url.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EndpointConfig, A::Error> {
                let table = EndpointTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(EndpointConfig {
                    url: table.url,
                    weight: table.weight,
                    priority: table.priority,
                    name: table.name,
                })
            }
        }

        deserializer.deserialize_any(EndpointVisitor)
    }
}

impl JsonSchema for EndpointConfig {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<EndpointTable>();
        json_schema!({ "anyOf": [
            { "type": "string", "description": "A URL, as http://10.0.0.1:8080;weight=2." },
            table,
        ] })
    }
}
