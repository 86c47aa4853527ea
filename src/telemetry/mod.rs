//! What is kept and told of the work that the crate does, beside the facts of each exchange in [`Info`](crate::Info).
//!
//! What is here observes, and decides nothing. A part whose feature is off is a type without content, whose methods do
//! nothing, so that other modules need not know of features.

// `stats` counts for each endpoint, with `percentiles` for its latencies; `timeline` is what has happened in a cluster;
// `report` is the data that both become. `no_stats` and `no_timeline` take their places without the feature. `metrics`
// and `metrics_off` are for the recorders of the `metrics` crate. `span` describes exchanges and attempts for
// `tracing`, `trace_context` links their spans with those of others, and `access_log` is a layer that has a line for
// each exchange.

pub mod access_log;
mod close_cause;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
mod metrics_off;
#[cfg(not(feature = "status"))]
mod no_stats;
#[cfg(not(feature = "status"))]
mod no_timeline;
#[cfg(feature = "status")]
mod percentiles;
#[cfg(feature = "status")]
mod report;
mod span;
#[cfg(feature = "status")]
mod stats;
#[cfg(feature = "status")]
mod timeline;
mod timeline_kind;
#[cfg(feature = "opentelemetry")]
mod trace_context;
#[cfg(feature = "status")]
mod unix_time;

#[cfg_attr(
    not(feature = "status"),
    expect(unreachable_pub, reason = "public with the feature alone")
)]
pub use self::timeline_kind::TimelineKind;
#[cfg(not(feature = "status"))]
pub(crate) use self::{
    no_stats::{NoClusterStats as ClusterStats, NoEndpointStats as EndpointStats},
    no_timeline::NoTimeline as Timeline,
};
#[cfg(feature = "status")]
pub use self::{
    report::{ClusterReport, DiscoveryReport, EndpointReport, LastError, PoolReport, StatusCounts},
    timeline::TimelineEvent,
};
#[cfg(feature = "status")]
pub(crate) use self::{
    stats::{ClusterStats, EndpointStats},
    timeline::Timeline,
    unix_time::millis,
};

#[cfg(feature = "metrics")]
pub(crate) use self::metrics::{
    ClusterMetrics, EndpointMetrics, ExchangeMetrics, MeasuredAttempt, MethodLabel, OpenConnection,
    PoolMetrics,
};
#[cfg(not(feature = "metrics"))]
pub(crate) use self::metrics_off::{
    Unmeasured as ClusterMetrics, Unmeasured as EndpointMetrics, Unmeasured as ExchangeMetrics,
    Unmeasured as MethodLabel, Unmeasured as OpenConnection, Unmeasured as PoolMetrics,
};
pub(crate) use self::{
    close_cause::CloseCause,
    span::{SpanServer, open_attempt, open_request, request_span, sent_to},
};
#[cfg(not(feature = "metrics"))]
pub(crate) use crate::record::AttemptGuard as MeasuredAttempt;
