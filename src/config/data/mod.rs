//! What can be configured, as plain data: one struct per table of the file, with public fields.
//!
//! A setting has the name of the method that it stands for. What is not said is `None`, so that sections of defaults
//! can be applied (`inherit`); the defaults themselves are those of the builders, and are nowhere here. What a value
//! may be is checked by the builders, too, when a cluster or a route is planned (`plan/`).

mod answer;
mod client;
mod cluster;
mod discover;
mod endpoint;
mod failures;
mod fields;
mod health_check;
mod inherit;
mod limits;
mod list;
mod matching;
mod policy;
mod route;
mod switch;
mod text_source;
mod units;

pub(super) use self::inherit::Inherit;
pub use self::{
    answer::{RedirectConfig, RespondConfig},
    client::{ClientConfig, ProxyProtocolConfig, TlsConfig},
    cluster::ClusterConfig,
    discover::{
        DiscoverConfig, DnsConfig, EtcdConfig, EtcdUserConfig, KubernetesConfig, WatchedFileConfig,
    },
    endpoint::EndpointConfig,
    failures::{BackoffConfig, EjectionConfig, HedgeConfig, RetryBudgetConfig, RetryConfig},
    fields::FieldsConfig,
    health_check::HealthCheckConfig,
    limits::{AdaptiveConcurrencyConfig, AdaptiveLimitsConfig, QueueByConfig, QueueConfig},
    matching::{HeaderCondition, MatchConfig},
    policy::{ConsistentHashConfig, PolicyConfig, SameSiteConfig, StickyConfig},
    route::{HostConfig, RouteConfig},
    switch::Switch,
    text_source::TextSource,
    units::{HumanDuration, HumanSize},
};
