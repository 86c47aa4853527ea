//! [`DiscoverConfig`]: where the endpoints of a cluster are found.
//!
//! One variant per source. A source whose feature is off can be named in the data, and is refused when it is built.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{switch::Switch, units::HumanDuration};

/// Where the endpoints of a cluster are found: one of the sources of [`discover`](crate::discover).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DiscoverConfig {
    /// The addresses of a name in DNS. Needs the feature dns.
    Dns(DnsConfig),
    /// The SRV records of a service in DNS. Needs the feature dns.
    Srv(DnsConfig),
    /// The lines of a file. Needs the feature file.
    File(WatchedFileConfig),
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

/// A file whose lines are endpoints. Each setting is the method of `discover::WatchedFile` that has its name.
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
