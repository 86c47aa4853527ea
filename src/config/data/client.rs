//! [`ClientConfig`]: how endpoints are connected to.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    inherit::inherit,
    list::{one_or_many, one_or_many_schema},
    switch::Switch,
    units::{HumanDuration, HumanSize},
};

/// How endpoints are connected to. Each setting is the method of [`ClientBuilder`](crate::upstream::ClientBuilder) that
/// has its name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The longest time to obtain a connection; false is no limit. Default: 5s.
    pub connect_timeout: Option<Switch<HumanDuration>>,
    /// How long an unused connection is kept; false is no limit. Default: 60s.
    pub pool_idle_timeout: Option<Switch<HumanDuration>>,
    /// How many unused HTTP/1 connections are kept, per endpoint and runtime. Default: 256.
    pub pool_max_idle: Option<usize>,
    /// How many connections may be open per endpoint. Default: false, no limit.
    pub max_connections: Option<Switch<usize>>,
    /// How long a connection takes requests. Default: false, no limit.
    pub max_lifetime: Option<Switch<HumanDuration>>,
    /// How large the head of a response may be. Default: 256KiB.
    pub max_response_head: Option<HumanSize>,
    /// How many fields the head of a response may have. Default: 256.
    pub max_response_fields: Option<usize>,
    /// How much of a response over HTTP/2 may be sent ahead of its reader. Default: 512KiB. Needs the feature http2.
    pub http2_stream_window: Option<HumanSize>,
    /// Sends an HTTP/2 ping after this long without a frame. Default: false, no pings. Needs the feature http2.
    pub http2_ping_interval: Option<Switch<HumanDuration>>,
    /// The version of the PROXY header that each connection begins with. Default: false, no header.
    pub proxy_protocol: Option<Switch<ProxyProtocolConfig>>,
    /// The addresses of names that are not looked up: "api.internal" = ["10.0.0.1:8443"].
    pub resolve: BTreeMap<String, Vec<String>>,
    /// TLS to the endpoints. Needs the feature tls.
    pub tls: Option<TlsConfig>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProxyProtocolConfig {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// TLS to the endpoints.
///
/// A path that is not absolute begins at the folder of the configuration. The files are PEM, and are read when the
/// cluster is built: after a change of a file, reload the configuration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The files of the trust roots, in place of the platform's.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(schema_with = "one_or_many_schema")]
    pub roots: Vec<PathBuf>,
    /// The file of the client certificate, with the certificates that lead to its root.
    pub certificate: Option<PathBuf>,
    /// The file of the key of the client certificate.
    pub key: Option<PathBuf>,
}

inherit!(ClientConfig:
    whole(
        connect_timeout, pool_idle_timeout, pool_max_idle, max_connections, max_lifetime, max_response_head,
        max_response_fields, http2_stream_window, http2_ping_interval, proxy_protocol, tls
    )
    inside(resolve)
    not()
);
