//! What metrics there are: their names, units and meanings. `docs/OBSERVABILITY.md` has the same table with the labels.

use metrics::Unit;

/// The upper bounds of the buckets of the two histograms of durations, in seconds, that OpenTelemetry's conventions
/// advise.
///
/// An exporter has to be given them: Prometheus' own makes summaries by default, which cannot be added up.
///
/// ```
/// use axum_upstream::metrics::DURATION_BUCKETS;
/// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
///
/// let durations = Matcher::Suffix("_duration_seconds".into());
/// let recorder = PrometheusBuilder::new().set_buckets_for_metric(durations, &DURATION_BUCKETS)?.build_recorder();
/// # Ok::<(), metrics_exporter_prometheus::BuildError>(())
/// ```
pub const DURATION_BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// One metric.
pub(super) struct Description {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    /// What a recorder is told of it.
    pub(super) text: &'static str,
}

const fn describe(name: &'static str, unit: Unit, text: &'static str) -> Description {
    Description { name, unit, text }
}

pub(super) const SERVER_DURATION: Description = describe(
    "http_server_request_duration_seconds",
    Unit::Seconds,
    "Duration of exchanges, from the request head to the last byte of the response",
);
pub(super) const REQUESTS: Description = describe(
    "axum_upstream_requests_total",
    Unit::Count,
    "Exchanges that have ended",
);
pub(super) const REQUESTS_IN_FLIGHT: Description = describe(
    "axum_upstream_requests_in_flight",
    Unit::Count,
    "Exchanges in progress",
);
pub(super) const CLIENT_DURATION: Description = describe(
    "http_client_request_duration_seconds",
    Unit::Seconds,
    "Duration of attempts, from the pick of the endpoint to the last byte of its response",
);
pub(super) const ATTEMPTS: Description = describe(
    "axum_upstream_attempts_total",
    Unit::Count,
    "Attempts that have ended",
);
pub(super) const ATTEMPTS_IN_FLIGHT: Description = describe(
    "axum_upstream_attempts_in_flight",
    Unit::Count,
    "Attempts in progress",
);
pub(super) const SENT: Description = describe(
    "axum_upstream_sent_bytes_total",
    Unit::Bytes,
    "Bytes of request bodies that were sent to the endpoint",
);
pub(super) const RECEIVED: Description = describe(
    "axum_upstream_received_bytes_total",
    Unit::Bytes,
    "Bytes of response bodies that were received from the endpoint",
);
pub(super) const ENDPOINT_AVAILABLE: Description = describe(
    "axum_upstream_endpoint_available",
    Unit::Count,
    "1 if the endpoint takes its share of requests, 0 if it is ejected, left alone, failing its check or draining",
);
pub(super) const EJECTIONS: Description = describe(
    "axum_upstream_ejections_total",
    Unit::Count,
    "Ejections of the endpoint",
);
pub(super) const ADMISSIONS: Description = describe(
    "axum_upstream_admissions_total",
    Unit::Count,
    "Ends of an ejection of the endpoint",
);
pub(super) const RETRIES: Description = describe(
    "axum_upstream_retries_total",
    Unit::Count,
    "Attempts that followed a failed one",
);
pub(super) const HEDGES: Description = describe(
    "axum_upstream_hedges_total",
    Unit::Count,
    "Attempts beside a slow one",
);
pub(super) const RETRIES_DENIED: Description = describe(
    "axum_upstream_retries_denied_total",
    Unit::Count,
    "Retries and hedges for which the retry budget had nothing left",
);
pub(super) const RETRY_BUDGET: Description = describe(
    "axum_upstream_retry_budget",
    Unit::Count,
    "Retries and hedges that the budget allowed when it was last looked at",
);
pub(super) const QUEUE_LENGTH: Description = describe(
    "axum_upstream_queue_length",
    Unit::Count,
    "Requests that wait for room at an endpoint",
);
pub(super) const QUEUE_REJECTIONS: Description = describe(
    "axum_upstream_queue_rejections_total",
    Unit::Count,
    "Requests that the queue did not take, or gave up",
);
pub(super) const DISCOVERY_SUCCESS: Description = describe(
    "axum_upstream_discovery_last_success_timestamp_seconds",
    Unit::Seconds,
    "When discovery last reported, in seconds since 1970",
);
pub(super) const DISCOVERY_FAILURES: Description = describe(
    "axum_upstream_discovery_failures_total",
    Unit::Count,
    "Errors of discovery",
);
pub(super) const CONNECTIONS_OPEN: Description = describe(
    "axum_upstream_connections_open",
    Unit::Count,
    "Open connections to the endpoint, tunnels among them",
);
pub(super) const CONNECTIONS_IDLE: Description = describe(
    "axum_upstream_connections_idle",
    Unit::Count,
    "Open HTTP/1 connections that wait for a request",
);
pub(super) const CONNECTIONS_OPENED: Description = describe(
    "axum_upstream_connections_opened_total",
    Unit::Count,
    "Connections that were opened",
);
pub(super) const CONNECTIONS_REUSED: Description = describe(
    "axum_upstream_connections_reused_total",
    Unit::Count,
    "Requests for which a connection was there",
);
pub(super) const CONNECTIONS_CLOSED: Description = describe(
    "axum_upstream_connections_closed_total",
    Unit::Count,
    "Connections that were closed",
);
