//! [`FieldChanges`]: changes of the fields of a head.

use std::collections::{BTreeMap, HashSet};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    super::data::{FieldsConfig, TextSource},
    place::SettingPlace,
    policy::field_name,
};
use crate::rewrite::{Fields, Seen};

/// Changes of the fields of a head, in the order of the fields here.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldChanges {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl FieldChanges {
    /// Checks changes.
    pub(super) fn new(config: &FieldsConfig, at: &SettingPlace<'_>) -> Self {
        let remove = config.remove.iter().flatten().enumerate();
        Self {
            remove: remove
                .filter_map(|(nth, name)| changeable(name, &at.key("remove").item(nth)))
                .collect(),
            set: fields(&config.set, &at.key("set")),
            add: fields(&config.add, &at.key("add")),
        }
    }

    /// Makes the changes.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// Checks fields and their values.
pub(super) fn fields(
    config: &BTreeMap<String, TextSource>,
    at: &SettingPlace<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut names = HashSet::new();
    let field = |(name, source): (&String, &TextSource)| {
        let at = at.key(name);
        let name = changeable(name, &at);
        let value = field_value(source, &at);
        let name = name?;
        if !names.insert(name.clone()) {
            at.refuse(format!("{name} is set twice"));
        }
        Some((name, value?))
    };
    config.iter().filter_map(field).collect()
}

/// Returns the value of a field, which is not shown if it did not stand in the file.
pub(super) fn field_value(source: &TextSource, at: &SettingPlace<'_>) -> Option<HeaderValue> {
    let text = at.text(source)?;
    let Ok(mut value) = HeaderValue::from_str(&text) else {
        at.refuse("the value has a character that no field can have");
        return None;
    };
    value.set_sensitive(!matches!(source, TextSource::Text(_)));
    Some(value)
}

/// Returns the name of a field that may be changed: one that belongs to a connection, or frames a message, may not.
fn changeable(name: &str, at: &SettingPlace<'_>) -> Option<HeaderName> {
    let name = field_name(name, at)?;
    if name == header::HOST {
        at.refuse("Host is set by the setting \"host\" of the route");
        return None;
    }
    let alone = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(""))]);
    let framing = Fields::CONNECTION
        | Fields::CONTENT_LENGTH
        | Fields::HOP_BY_HOP
        | Fields::TRANSFER_ENCODING
        | Fields::TRAILER;
    if Seen::in_head(&alone).any(framing) {
        at.refuse(format!(
            "{name} belongs to the connection, and is set by the proxy alone"
        ));
        return None;
    }
    Some(name)
}
