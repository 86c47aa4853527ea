//! The status of a cluster as data, which can be serialized.
//!
//! Its fields in JSON are those of the structs, but that times are milliseconds since 1970 in UTC, with the suffix
//! `_unix_ms`, and durations seconds, with the suffix `_seconds`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{
    timeline::TimelineEvent,
    unix_time::{optional_unix_ms, unix_ms},
};
use crate::record::{EndpointState, optional_seconds};

/// The status of a cluster at one moment, from [`LoadBalance::status`](crate::LoadBalance::status).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ClusterReport {
    /// The [name](crate::balance::LoadBalanceBuilder::name) of the cluster.
    pub name: Arc<str>,
    /// Whether fewer than half of the endpoints are well, so that all that answer are used.
    pub panic: bool,
    /// Whether none of the endpoints answers, so that requests fail at once.
    pub dead: bool,
    /// How the discovery of its endpoints is doing. `None` without one.
    pub discovery: Option<DiscoveryReport>,
    /// How many requests are in flight at all endpoints.
    pub in_flight: usize,
    /// How many requests wait for room at an endpoint.
    pub queued: usize,
    /// How many requests there have been.
    pub requests: u64,
    /// How many attempts followed a failed one.
    pub retries: u64,
    /// How many attempts were made beside another one that was slow.
    pub hedges: u64,
    /// How many retries and hedges the budget allows now.
    pub retry_budget: f64,
    /// The endpoints, in the order of their insertion.
    pub endpoints: Vec<EndpointReport>,
    /// What has happened to them, the latest last: up to a hundred events.
    pub events: Vec<TimelineEvent>,
}

/// How the discovery of a cluster's endpoints is doing.
///
/// While it fails, the last endpoints stay.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct DiscoveryReport {
    /// When it last reported, be it that nothing has changed. `None` if it never did. A cluster that takes the place of
    /// another one with the same discovery goes on with its time.
    ///
    /// A discovery that reports changes alone is silent while there are none, so a long time since then need not mean a
    /// failure.
    #[serde(rename = "last_success_unix_ms", serialize_with = "optional_unix_ms")]
    pub last_success: Option<SystemTime>,
    /// How many times it has failed since then.
    pub failures_in_a_row: u64,
    /// Its last failure, which may be over. The kind of error is `discovery`.
    pub last_error: Option<LastError>,
}

/// The status of an endpoint at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct EndpointReport {
    /// Its name: its URL, unless it was given another.
    pub name: Arc<str>,
    /// Whether it may be given requests.
    pub state: EndpointState,
    /// Why it may not, if it is known. It may contain what the endpoint has sent.
    pub cause: Option<Arc<str>>,
    /// Since when it has been in this state, as far as that is noted.
    #[serde(rename = "since_unix_ms", serialize_with = "optional_unix_ms")]
    pub since: Option<SystemTime>,
    /// Until when it will be, if that is known.
    #[serde(rename = "until_unix_ms", serialize_with = "optional_unix_ms")]
    pub until: Option<SystemTime>,
    /// Its weight; 0 if it gets no new requests.
    pub weight: u32,
    /// The number of its tier, of which 0 is used first.
    pub tier: u8,
    /// How many requests are in flight.
    pub in_flight: usize,
    /// How long the next response head is expected to take, if it is known.
    #[serde(
        rename = "latency_estimate_seconds",
        serialize_with = "optional_seconds"
    )]
    pub latency_estimate: Option<Duration>,
    /// The share of successes among the attempts of the last ten seconds. `None` without any.
    pub success_rate: Option<f32>,
    /// How many attempts have ended.
    pub requests: u64,
    /// How many of them failed through the endpoint's fault.
    pub failures: u64,
    /// How many responses there were, by the class of their status.
    pub statuses: StatusCounts,
    /// How many failures there were, by the kind of error; `status` for a response that reported a failure.
    pub errors: BTreeMap<&'static str, u64>,
    /// The median of how long the attempts of the last ten to twenty seconds took to their response head, to within an
    /// eighth. `None` without any.
    #[serde(rename = "p50_seconds", serialize_with = "optional_seconds")]
    pub p50: Option<Duration>,
    /// The 90th percentile of the same.
    #[serde(rename = "p90_seconds", serialize_with = "optional_seconds")]
    pub p90: Option<Duration>,
    /// The 99th percentile of the same.
    #[serde(rename = "p99_seconds", serialize_with = "optional_seconds")]
    pub p99: Option<Duration>,
    /// How many bytes of request bodies were sent.
    pub bytes_sent: u64,
    /// How many bytes of response bodies were received.
    pub bytes_received: u64,
    /// The last failures, the latest first: up to five.
    pub last_errors: Vec<LastError>,
    /// The connections of its client, which all clones of that share. `None` for an endpoint that is a service of your
    /// own.
    pub pool: Option<PoolReport>,
}

/// The connections of a [`Client`](crate::upstream::Client).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PoolReport {
    /// How many are open.
    pub open: u64,
    /// How many of those wait for a request. Of HTTP/1 only: one of HTTP/2 can always take more, up to its limit.
    pub idle: u64,
    /// How many have been opened.
    pub opened: u64,
    /// For how many requests one was there.
    pub reused: u64,
}

/// How many responses there were, by the class of their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatusCounts {
    /// 1xx: those that became a tunnel.
    #[serde(rename = "1xx")]
    pub informational: u64,
    /// 2xx.
    #[serde(rename = "2xx")]
    pub success: u64,
    /// 3xx.
    #[serde(rename = "3xx")]
    pub redirection: u64,
    /// 4xx.
    #[serde(rename = "4xx")]
    pub client_error: u64,
    /// 5xx.
    #[serde(rename = "5xx")]
    pub server_error: u64,
}

/// A failure of an endpoint, or of a discovery.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LastError {
    /// When it happened.
    #[serde(rename = "unix_ms", serialize_with = "unix_ms")]
    pub at: SystemTime,
    /// The kind of error, as [`ErrorKind::as_str`](crate::ErrorKind::as_str) has it; `status` for a response that
    /// reported a failure; `discovery` for that of a discovery.
    pub error: &'static str,
    /// What is known of it, cut to a few hundred bytes. It may contain what the endpoint has sent.
    pub message: String,
}
