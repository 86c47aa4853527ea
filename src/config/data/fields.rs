//! [`FieldsConfig`]: changes of the fields of a head.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{inherit::inherit, text_source::TextSource};

/// Changes of the fields of a head: first those to remove, then those to set, then those to add.
///
/// Of defaults and a route, the entries of both count; the route's own win.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FieldsConfig {
    /// Fields to remove, by name.
    pub remove: Option<Vec<String>>,
    /// Fields to set, in place of any of the same name.
    pub set: BTreeMap<String, TextSource>,
    /// Fields to add beside those of the same name.
    pub add: BTreeMap<String, TextSource>,
}

inherit!(FieldsConfig: whole(remove) inside(set, add) not());
