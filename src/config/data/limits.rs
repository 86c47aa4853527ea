//! Limits of requests in flight: [`QueueConfig`], [`AdaptiveConcurrencyConfig`].

use schemars::JsonSchema;
use serde::Deserialize;

use super::{inherit::inherit, switch::Switch, units::HumanDuration};

/// The requests that wait while all endpoints are full: the parameters of
/// [`LoadBalanceBuilder::queue`](crate::balance::LoadBalanceBuilder::queue).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct QueueConfig {
    /// How many wait. Default: 0, none.
    pub requests: Option<usize>,
    /// How long each waits; false is no limit. Default: 1s.
    pub deadline: Option<Switch<HumanDuration>>,
}

/// By which key requests queue.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QueueByConfig {
    /// The value of a header field, such as the tenant.
    Header(String),
}

/// A limit that follows what an endpoint can take. Each setting is the method of `AdaptiveConcurrency` that has its
/// name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AdaptiveConcurrencyConfig {
    /// The latency above which the limit shrinks. Default: false, by the gradient of the latency.
    pub aimd: Option<Switch<HumanDuration>>,
    /// The limit of a new endpoint. Default: 20.
    pub initial: Option<usize>,
    /// The lowest and the highest limit. Default: 1 and 1000.
    pub limits: Option<AdaptiveLimitsConfig>,
}

/// The range of an adaptive limit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AdaptiveLimitsConfig {
    /// The lowest limit. Default: 1.
    pub min: Option<usize>,
    /// The highest limit. Default: 1000.
    pub max: Option<usize>,
}

inherit!(QueueConfig: whole(requests, deadline) inside() not());
inherit!(AdaptiveConcurrencyConfig: whole(aimd, initial) inside(limits) not());
inherit!(AdaptiveLimitsConfig: whole(min, max) inside() not());
