//! The JSON schema of a configuration.

use schemars::{
    Schema,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Value, json};

use super::root::Config;

impl Config {
    /// Returns the JSON schema of the file, by which editors complete and check it. Like [`Config::from_file`], it
    /// refuses what it does not know.
    #[must_use]
    pub fn json_schema() -> Value {
        Self::json_schema_with(&[])
    }

    /// Returns the JSON schema of a file in which an application has these sections beside the configuration, as
    /// [`ConfigFile::section`](super::ConfigFile::section) reads them. What is in them is not checked.
    ///
    /// `docs/config.schema.json` has the section `gateway` of the program in `examples/gateway`.
    #[must_use]
    pub fn json_schema_with(sections: &[&str]) -> Value {
        let settings = SchemaSettings::draft2020_12().with_transform(ForToml);
        let mut schema = settings.into_generator().into_root_schema_for::<Self>();
        schema.insert("additionalProperties".into(), Value::Bool(false));
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            let section =
                json!({ "description": "A section of the application.", "type": "object" });
            properties.extend(
                sections
                    .iter()
                    .map(|name| ((*name).to_owned(), section.clone())),
            );
        }
        schema.to_value()
    }
}

/// Makes a schema of Rust's types one of a file in TOML, which has no `null`, and leaves the links of the documentation
/// out of descriptions.
#[derive(Clone)]
struct ForToml;

impl Transform for ForToml {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::String(text)) = schema.get_mut("description") {
            let paragraphs = text
                .split("\n\n")
                .map(|paragraph| paragraph.replace('\n', " "));
            *text = without_links(&paragraphs.collect::<Vec<_>>().join("\n\n"));
        }
        if schema.get("default") == Some(&Value::Null) {
            schema.remove("default");
        }
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|one| one != "null");
            if let [only] = &types[..] {
                let only = only.clone();
                schema.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(all)) = schema.get_mut("anyOf") {
            all.retain(|one| one.get("type").is_none_or(|kind| kind != "null"));
            if let [Value::Object(only)] = &mut all[..] {
                let only = std::mem::take(only);
                schema.remove("anyOf");
                for (key, value) in only {
                    schema.insert(key, value);
                }
            }
        }
        transform_subschemas(self, schema);
    }
}

/// Returns a text with `name` in place of each `[name](target)`.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let (Some((outside, name)), Some((_, behind))) =
            (before.rsplit_once('['), after.split_once(')'))
        else {
            break;
        };
        plain += outside;
        plain += name;
        rest = behind;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused_as_the_parser_does() {
        let schema = Config::json_schema();
        assert_eq!(schema["additionalProperties"], false);
        let keys = schema["properties"].as_object().unwrap().keys();
        assert!(
            keys.eq(Config::KEYS
                .into_iter()
                .collect::<std::collections::BTreeSet<_>>())
        );
        let with = Config::json_schema_with(&["server"]);
        assert_eq!(with["additionalProperties"], false);
        assert_eq!(with["properties"]["server"]["type"], "object");
        let definitions = schema["$defs"].as_object().unwrap();
        assert_eq!(definitions["ClusterConfig"]["additionalProperties"], false);
    }

    /// Every table with names of its own refuses others.
    #[test]
    fn no_table_is_open() {
        fn closed(schema: &Value) {
            if schema["type"] == "object" && schema["properties"].is_object() {
                assert_eq!(schema["additionalProperties"], false, "{schema}");
            }
            match schema {
                Value::Object(all) => all.values().for_each(closed),
                Value::Array(all) => all.iter().for_each(closed),
                _ => {}
            }
        }
        closed(&Config::json_schema());
    }

    #[test]
    fn links_become_names() {
        let text = "See [`A`](crate::A) and [b](x) here: [1, 2].";
        assert_eq!(without_links(text), "See `A` and b here: [1, 2].");
        assert_eq!(without_links("a](b"), "a](b");
    }
}
