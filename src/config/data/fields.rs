//! [`FieldsConfig`]: changes of the fields of a head.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{inherit::inherit, text_source::TextSource};

/// Changes of the fields of a head: first those to remove, then those to set, then those to add.
///
/// Of `set` and `add`, the entries of both the defaults and a route count, and the route's own win; a `remove` of the
/// route takes the place of that of the defaults. Names of fields differ by more than the case of their letters.
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
