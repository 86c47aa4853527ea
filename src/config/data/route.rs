//! [`RouteConfig`]: which requests, and what is done with them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    answer::{RedirectConfig, RespondConfig},
    fields::FieldsConfig,
    inherit::inherit,
    matching::MatchConfig,
    switch::Switch,
    units::{HumanDuration, HumanSize},
};

/// A route: the requests that match, and what is done with them, which is exactly one of cluster, respond and redirect.
///
/// The other settings are the methods of [`ReverseProxy`](crate::ReverseProxy) that have their names, where their
/// defaults are documented. `false` turns a setting off.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RouteConfig {
    /// Which requests. Without conditions: all that no other route takes.
    #[serde(rename = "match")]
    pub matching: MatchConfig,
    /// Forwards to the cluster of this name.
    pub cluster: Option<String>,
    /// Answers with a fixed response.
    pub respond: Option<RespondConfig>,
    /// Answers with a redirect.
    pub redirect: Option<RedirectConfig>,
    /// What the endpoint sees as Host. Default: endpoint.
    pub host: Option<HostConfig>,
    /// Removes a prefix from the path. Default: false.
    pub strip_prefix: Option<Switch<String>>,
    /// Puts a prefix in front of the path, after strip_prefix. Default: false.
    pub add_prefix: Option<Switch<String>>,
    /// The networks of the proxies in front, whose X-Forwarded-* fields are kept: "10.0.0.0/8". Default: none.
    pub trusted_peers: Option<Vec<String>>,
    /// Whether Forwarded (RFC 7239) is sent besides X-Forwarded-*. Default: false.
    pub forwarded: Option<bool>,
    /// Whether clients reach this server over TLS, unless the server says it for each request. Default: false.
    pub behind_tls: Option<bool>,
    /// The name of this proxy in Via; false sends none, and detects no loops. Default: a random one.
    pub via: Option<Switch<String>>,
    /// Whether Via is added to responses, too. Default: false.
    pub via_on_responses: Option<bool>,
    /// Whether URLs and cookies that name the endpoint become the client's in responses. Default: false.
    pub reverse_mapping: Option<bool>,
    /// Fields that a client cannot have removed by naming them in Connection. Default: none.
    pub protected_fields: Option<Vec<String>>,
    /// The longest time from the last byte of the request to the response head; false is no limit. Default: 60s.
    pub response_timeout: Option<Switch<HumanDuration>>,
    /// The longest time in which nothing moves; false is no limit. Default: 100s.
    pub idle_timeout: Option<Switch<HumanDuration>>,
    /// The longest time for the whole exchange. Default: false, no limit.
    pub total_timeout: Option<Switch<HumanDuration>>,
    /// The largest request body. Default: false, no limit.
    pub body_limit: Option<Switch<HumanSize>>,
    /// The protocols that clients may upgrade to. Default: websocket.
    pub upgrades: Option<Vec<String>>,
    /// Changes of the fields of each request, after everything else.
    pub rewrite_request: Option<FieldsConfig>,
    /// Changes of the fields of each response, after everything else.
    pub rewrite_response: Option<FieldsConfig>,
    /// Whether Server-Timing is added to responses, for clients that are trusted. Default: false.
    pub server_timing: Option<bool>,
}

/// What the endpoint sees as Host: [`HostPolicy`](crate::rewrite::HostPolicy).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HostConfig {
    /// The authority of the endpoint's URL.
    Endpoint,
    /// What the client asked for.
    Preserve,
    /// This value.
    Fixed(String),
}

inherit!(RouteConfig:
    whole(
        host, strip_prefix, add_prefix, trusted_peers, forwarded, behind_tls, via, via_on_responses, reverse_mapping,
        protected_fields, response_timeout, idle_timeout, total_timeout, body_limit, upgrades, server_timing
    )
    inside(rewrite_request, rewrite_response)
    not(matching, cluster, respond, redirect)
);
