//! [`ClusterConfig`]: a cluster, by the names that the methods of [`LoadBalanceBuilder`] have.
//!
//! [`LoadBalanceBuilder`]: crate::balance::LoadBalanceBuilder

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    client::ClientConfig,
    discover::DiscoverConfig,
    endpoint::EndpointConfig,
    failures::{EjectionConfig, HedgeConfig, RetryConfig},
    health_check::HealthCheckConfig,
    inherit::inherit,
    limits::{AdaptiveConcurrencyConfig, QueueByConfig, QueueConfig},
    policy::PolicyConfig,
    switch::Switch,
    units::HumanDuration,
};

/// A cluster: its endpoints, and how requests are balanced over them.
///
/// Each setting is the method of [`LoadBalanceBuilder`](crate::balance::LoadBalanceBuilder) that has its name, where
/// its default is documented. `false` turns a setting off.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// The endpoints: URLs, as `http://10.0.0.1:8080;weight=2`, or tables with url, weight, priority and name. Either
    /// these or "discover".
    pub endpoints: Option<Vec<EndpointConfig>>,
    /// Where the endpoints are found, and followed. Either this or "endpoints".
    pub discover: Option<DiscoverConfig>,
    /// How an endpoint is picked for a request. Default: p2c.
    pub policy: Option<PolicyConfig>,
    /// Uses at most this many of the endpoints. Default: false, all.
    pub subset: Option<Switch<usize>>,
    /// How long a request waits for a discovery that has not reported yet; false waits without a limit. Default: 1s.
    pub ready_timeout: Option<Switch<HumanDuration>>,
    /// Seeds the random numbers, for tests. Default: one from the operating system.
    pub seed: Option<u64>,
    /// Which requests are sent again; false repeats none that may have been received. Default: an idempotent one once.
    pub retry: Option<Switch<RetryConfig>>,
    /// When a second endpoint is asked beside a slow one. Default: false.
    pub hedge: Option<Switch<HedgeConfig>>,
    /// When an endpoint that fails is ejected; false ejects none.
    pub ejection: Option<Switch<EjectionConfig>>,
    /// How many requests may be in flight at each endpoint. Default: false, no limit.
    pub max_in_flight: Option<Switch<usize>>,
    /// How many requests may be in flight at all endpoints together. Default: false, no limit.
    pub max_in_flight_total: Option<Switch<usize>>,
    /// Has the limit of each endpoint follow what it can take, by its latency. Default: false. Needs the feature
    /// adaptive-limit.
    pub adaptive_concurrency: Option<Switch<AdaptiveConcurrencyConfig>>,
    /// How many requests wait, and for how long, while all endpoints are full. Default: false, none.
    pub queue: Option<Switch<QueueConfig>>,
    /// By which key requests queue, each key in a lane of its own. Default: all in one line.
    pub queue_by: Option<Switch<QueueByConfig>>,
    /// How the endpoints are connected to: timeouts, pool, TLS.
    pub client: Option<ClientConfig>,
    /// The active check of each endpoint. Default: false, none.
    pub health_check: Option<Switch<HealthCheckConfig>>,
    /// Whether each attempt says why its endpoint was picked. Default: false. Needs the feature status.
    pub explain: Option<bool>,
}

inherit!(ClusterConfig:
    whole(
        policy, subset, ready_timeout, seed, hedge, max_in_flight, max_in_flight_total, queue_by, explain
    )
    inside(retry, ejection, adaptive_concurrency, queue, client, health_check)
    not(endpoints, discover)
);
