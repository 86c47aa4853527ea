//! Answers of a route's own: [`RespondConfig`], [`RedirectConfig`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::text_source::TextSource;

/// A fixed response.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RespondConfig {
    /// The status, from 200 to 599. Default: 200.
    pub status: Option<u16>,
    /// The body: a text, or { file = "…" }. Default: empty.
    pub body: Option<TextSource>,
    /// The fields. Default: Content-Type: text/plain; charset=utf-8 if there is a body.
    pub fields: BTreeMap<String, TextSource>,
}

/// A redirect.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RedirectConfig {
    /// Where to: `https://{host}{path}{query}`, or a path. {host} is what the client asked for, without the port;
    /// {path} begins with /; {query} is empty, or begins with ?.
    pub to: String,
    /// The status: 301, 302, 303, 307 or 308. Default: 308.
    pub status: Option<u16>,
}
