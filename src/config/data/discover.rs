//! [`DiscoverConfig`]: where the endpoints of a cluster are found.
//!
//! One variant per source. A source whose feature is off can be named in the data, and is refused when it is built.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    client::ClientConfig,
    list::{number_or_text, number_or_text_schema, one_or_many, one_or_many_schema},
    switch::Switch,
    text_source::TextSource,
    units::HumanDuration,
};

/// Where the endpoints of a cluster are found: one of the sources of [`discover`](crate::discover).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DiscoverConfig {
    /// The addresses of a name in DNS. Needs the feature dns.
    Dns(DnsConfig),
    /// The SRV records of a service in DNS. Needs the feature dns.
    Srv(DnsConfig),
    /// The entries of a file. Needs the feature file.
    File(WatchedFileConfig),
    /// The keys of a prefix in etcd. Needs the feature etcd.
    Etcd(Box<EtcdConfig>),
    /// The pods of a Service in Kubernetes. Needs the feature kubernetes.
    Kubernetes(KubernetesConfig),
}

/// A name in DNS. Each setting is the method of `discover::Dns` that has its name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DnsConfig {
    /// The URL of the endpoints, with the name as its host: `http://api.internal:8080`, or for SRV records
    /// `http://_http._tcp.api.internal`.
    pub url: String,
    /// The name servers to ask, as "127.0.0.1:8600". Default: those of the system.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(schema_with = "one_or_many_schema")]
    pub name_server: Vec<String>,
    /// Asks for IPv4 addresses only. Default: false.
    pub ipv4_only: bool,
    /// Asks for IPv6 addresses only. Default: false.
    pub ipv6_only: bool,
    /// The shortest time from one lookup to the next. Default: 1s.
    pub min_ttl: Option<HumanDuration>,
    /// The longest time from one lookup to the next; false is no limit. Default: 5m.
    pub max_ttl: Option<Switch<HumanDuration>>,
    /// How long a question may take. Default: 10s.
    pub timeout: Option<HumanDuration>,
    /// Believes answers without records. Default: false, the last endpoints stay.
    pub allow_empty: bool,
}

/// A file whose entries are endpoints. Each setting is the method of `discover::WatchedFile` that has its name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WatchedFileConfig {
    /// The path of the file. One that is not absolute begins at the folder of the configuration.
    pub path: PathBuf,
    /// How often the file is read where no change is reported; false relies on the reports. Default: 10s.
    pub interval: Option<Switch<HumanDuration>>,
    /// Believes a file without endpoints. Default: false, the last endpoints stay.
    pub allow_empty: bool,
}

/// A prefix in etcd. Each setting is the method of `discover::Etcd` that has its name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EtcdConfig {
    /// The URL of a member, whose path is the prefix: `http://127.0.0.1:2379/services/api/`.
    pub prefix: String,
    /// The URLs of other members.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(schema_with = "one_or_many_schema")]
    pub member: Vec<String>,
    /// The prefix, where keys do not begin with a slash. Default: the path of the URL.
    pub key_prefix: Option<String>,
    /// The user to authenticate as. Default: none.
    pub user: Option<EtcdUserConfig>,
    /// How members are connected to: timeouts, TLS.
    pub member_client: Option<ClientConfig>,
    /// How long a member may take to answer before the next one is asked. Default: 5s.
    pub timeout: Option<HumanDuration>,
    /// After what time without a change a member is asked whether the watch goes on. Default: 30s.
    pub heartbeat: Option<HumanDuration>,
    /// Believes a prefix without keys. Default: false, the last endpoints stay.
    pub allow_empty: bool,
}

/// A user of etcd.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EtcdUserConfig {
    /// The name.
    pub name: String,
    /// The password, best as { file = "…" } or { env = "…" }.
    pub password: TextSource,
}

/// A Service in Kubernetes. Each setting is the method of `discover::Kubernetes` that has its name; credentials are
/// those of the pod or of kubectl, unless one of kubeconfig and api_server is set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct KubernetesConfig {
    /// The namespace of the Service.
    pub namespace: String,
    /// The name of the Service.
    pub service: String,
    /// The name of the port, or its number at the pods. Default: the only one.
    #[serde(deserialize_with = "number_or_text")]
    #[schemars(schema_with = "number_or_text_schema")]
    pub port: Option<String>,
    /// The URL of the endpoints, but for the address of the pod: `https://api.example.com/base`.
    pub url: Option<String>,
    /// The zone in which this process runs, whose endpoints are preferred. Default: none.
    pub zone: Option<String>,
    /// Uses IPv4 addresses only. Default: false.
    pub ipv4_only: bool,
    /// Uses IPv6 addresses only. Default: false.
    pub ipv6_only: bool,
    /// The file of a kubeconfig. A path that is not absolute begins at the folder of the configuration.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig. Default: the current one.
    pub kubeconfig_context: Option<String>,
    /// The URL of an API server that needs no credentials, such as that of kubectl proxy.
    pub api_server: Option<String>,
    /// How long the API server may take to answer. Default: 10s.
    pub timeout: Option<HumanDuration>,
    /// How long a watch lasts until another one goes on. Default: 5m.
    pub watch_time: Option<HumanDuration>,
    /// Believes that there are no EndpointSlices. Default: false, the last endpoints stay.
    pub allow_empty: bool,
}
