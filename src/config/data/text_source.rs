//! [`TextSource`]: a text that may be a secret, and where it is.

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A text, or where to find it: in a file, or in a variable of the environment.
///
/// What may be a secret is better kept out of the file of the configuration: `{ file = "token" }`, `{ env = "TOKEN" }`.
/// A line end at the end of a file is not part of the text. Neither `Debug` nor an error shows the text.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub enum TextSource {
    /// The text itself.
    Text(String),
    /// The file that has it. A path that is not absolute begins at the folder of the configuration.
    File {
        /// The path of the file.
        file: PathBuf,
    },
    /// The variable of the environment that has it.
    Env {
        /// The name of the variable.
        env: String,
    },
}

impl From<&str> for TextSource {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Debug for TextSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File { file } => f.debug_struct("File").field("file", file).finish(),
            Self::Env { env } => f.debug_struct("Env").field("env", env).finish(),
        }
    }
}

/// The table that says where a text is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextPlace {
    file: Option<PathBuf>,
    env: Option<String>,
}

impl<'de> Deserialize<'de> for TextSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = TextSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, { file = \"…\" } or { env = \"…\" }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextSource, E> {
                Ok(text.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextSource, A::Error> {
                let place = TextPlace::deserialize(MapAccessDeserializer::new(map))?;
                match (place.file, place.env) {
                    (Some(file), None) => Ok(TextSource::File { file }),
                    (None, Some(env)) => Ok(TextSource::Env { env }),
                    _ => Err(A::Error::custom("expected either \"file\" or \"env\"")),
                }
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}
