//! What is done about requests and endpoints that fail: [`RetryConfig`], [`HedgeConfig`], [`EjectionConfig`].

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    inherit::inherit,
    switch::Switch,
    units::{HumanDuration, HumanSize},
};

/// Which requests are sent again. Each setting is the method of [`Retry`](crate::retry::Retry) that has its name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetryConfig {
    /// How many attempts a request gets, the first one included. Default: 2.
    pub attempts: Option<u32>,
    /// How long an attempt may take to its response head. Default: false, no limit.
    pub per_try_timeout: Option<Switch<HumanDuration>>,
    /// How much of a request body is kept, so that it can be sent again. Default: 64KiB.
    pub replay_limit: Option<HumanSize>,
    /// How many repeats all requests of the cluster have together.
    pub budget: Option<RetryBudgetConfig>,
    /// The statuses for which an idempotent request is repeated. Default: 502, 503, 504.
    pub statuses: Option<Vec<u16>>,
    /// A field that requests get from the second attempt on, with the number of the attempt. Default: false, none.
    pub attempt_field: Option<Switch<String>>,
}

/// How many retries there may be. Each setting is the method of [`RetryBudget`](crate::retry::RetryBudget) that has its
/// name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetryBudgetConfig {
    /// Retries per request, from 0 to 10. Default: 0.2.
    pub ratio: Option<f64>,
    /// Retries within a second beside those. Default: 10.
    pub per_second: Option<u32>,
}

/// When a second endpoint is asked: exactly one of after and percentile, the constructors of
/// [`Hedge`](crate::retry::Hedge).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HedgeConfig {
    /// After this time.
    pub after: Option<HumanDuration>,
    /// After a time within which this share of the requests is answered, from 0.5 to less than 1.
    pub percentile: Option<f32>,
}

/// When an endpoint is ejected. Each setting is the method of [`Ejection`](crate::health::Ejection) that has its name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EjectionConfig {
    /// After how many failures in a row. Default: 5.
    pub consecutive_failures: Option<u32>,
    /// Below which success rate of the last ten seconds, from 0 to 1. Default: 0.8.
    pub success_rate: Option<f32>,
    /// How many requests must have ended for the success rate to count. Default: 10.
    pub min_requests: Option<u32>,
    /// For how long: base at first, then twice as long each time, up to max. Default: 1s to 60s.
    pub backoff: Option<BackoffConfig>,
    /// Which share of the endpoints may be ejected, from 0 to 1. Default: 0.5.
    pub max_ejected: Option<f32>,
}

/// For how long an endpoint is ejected.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BackoffConfig {
    /// The first time. Default: 1s.
    pub base: Option<HumanDuration>,
    /// At most. Default: 60s.
    pub max: Option<HumanDuration>,
}

inherit!(RetryConfig:
    whole(attempts, per_try_timeout, replay_limit, statuses, attempt_field) inside(budget) not());
inherit!(RetryBudgetConfig: whole(ratio, per_second) inside() not());
inherit!(EjectionConfig:
    whole(consecutive_failures, success_rate, min_requests, max_ejected) inside(backoff) not());
inherit!(BackoffConfig: whole(base, max) inside() not());
