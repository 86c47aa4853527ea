//! Times and sizes as people write them: `5s`, `64KiB`.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A time, written with its unit: `250ms`, `5s`, `1m 30s`, `2h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

impl From<Duration> for HumanDuration {
    fn from(time: Duration) -> Self {
        Self(time)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DurationVisitor;

        impl Visitor<'_> for DurationVisitor {
            type Value = HumanDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time with its unit, as \"5s\" or \"250ms\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<HumanDuration, E> {
                match humantime::parse_duration(text.trim()) {
                    Ok(time) => Ok(HumanDuration(time)),
                    Err(error) => Err(E::custom(format!(
                        "expected a time with its unit, as \"5s\" or \"250ms\": {error}"
                    ))),
                }
            }
        }

        deserializer.deserialize_str(DurationVisitor)
    }
}

impl JsonSchema for HumanDuration {
    fn inline_schema() -> bool {
        false
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A time with its unit: 250ms, 5s, 1m 30s, 2h.",
            "pattern": "^\\s*([0-9.]+\\s*[a-zA-Zµ]+\\s*)+$",
            "examples": ["250ms", "5s", "1m 30s"],
        })
    }
}

/// A number of bytes: `65536`, `64KiB`, `10MB`.
///
/// `KiB`, `MiB` and `GiB` are powers of 1024, `kB`, `MB` and `GB` of 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HumanSize(pub u64);

impl From<u64> for HumanSize {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl HumanSize {
    /// Returns it as the size of something in memory. One that does not fit is no limit anyway.
    pub(in crate::config) fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<'de> Deserialize<'de> for HumanSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = HumanSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, as 65536 or \"64KiB\"")
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<HumanSize, E> {
                let unsigned = u64::try_from(bytes).map(HumanSize);
                unsigned.map_err(|_| E::custom("expected a number of bytes, found less than 0"))
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<HumanSize, E> {
                Ok(HumanSize(bytes))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<HumanSize, E> {
                match text.trim().parse::<bytesize::ByteSize>() {
                    Ok(size) => Ok(HumanSize(size.0)),
                    Err(_) => Err(E::custom(
                        "expected a number of bytes, as 65536 or \"64KiB\"; units are B, kB, KiB, MB, MiB, GB, GiB",
                    )),
                }
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

impl JsonSchema for HumanSize {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes: 65536, 64KiB, 10MB.",
            "examples": [65536, "64KiB", "10MB"],
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^\\s*[0-9.]+\\s*[a-zA-Z]*\\s*$" },
            ],
        })
    }
}
