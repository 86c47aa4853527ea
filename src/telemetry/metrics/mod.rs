//! Metrics, for the recorder of the [`metrics`](https://docs.rs/metrics) crate that the application installs: an
//! exporter for Prometheus, for example. Nothing else has to be set.
//!
//! ```no_run
//! use axum_upstream::metrics::DURATION_BUCKETS;
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//!
//! let durations = Matcher::Suffix("_duration_seconds".into());
//! let metrics = PrometheusBuilder::new()
//!     .set_buckets_for_metric(durations, &DURATION_BUCKETS)?
//!     .install_recorder()?;
//! // What a handler of `/metrics` answers with.
//! println!("{}", metrics.render());
//! # Ok::<(), metrics_exporter_prometheus::BuildError>(())
//! ```
//!
//! **Install the recorder before the first request is served**, and before a cluster with a discovery or with health
//! checks is built. What is counted with every request is registered once, at its first use, and stays with the
//! recorder that was there at that time, or with none.
//!
//! # Names and labels
//!
//! Names are those that Prometheus reads, with their unit and `_total`. All begin with `axum_upstream_`, except for
//! `http_server_request_duration_seconds`, of exchanges, and `http_client_request_duration_seconds`, of attempts, which
//! OpenTelemetry's conventions name.
//!
//! Labels have few values, whatever clients send:
//!
//! - `cluster` and `endpoint`, their names; `none` where there is no cluster;
//! - `method`; `_OTHER` for one that is not registered;
//! - `status`, the class, such as `2xx`, or `none` without a response head;
//! - `outcome`: `success`, `failure` for a whole response that reports one, or the name of an
//!   [`ErrorKind`](crate::ErrorKind);
//! - `cause`, of an ejection, a rejection by the queue, or the close of a connection.
//!
//! Exchanges are counted by a [`ReverseProxy`](crate::ReverseProxy), attempts by a [`LoadBalance`](crate::LoadBalance),
//! or by a [`Client`](crate::upstream::Client) that is used without one.

// Each part of the crate has the instruments of what it is about: `ExchangeMetrics` a proxy, `ClusterMetrics` and
// `EndpointMetrics` a balancer, `PoolMetrics` a client. Nothing is global, so that a test has a recorder of its own.
//
// What is counted with every request is registered at its first use and kept: a look-up in a recorder costs more than a
// microsecond. There is no lock on the way to such a handle: see `series`. What happens rarely, such as an ejection, is
// looked up each time.
//
// What other modules call is there without the feature, too, where it does nothing: `metrics_off`.

mod cluster;
mod endpoint;
mod exchange;
mod labels;
mod names;
mod pool;
mod register;
mod series;

pub use self::names::DURATION_BUCKETS;
pub(crate) use self::{
    cluster::ClusterMetrics,
    endpoint::{EndpointMetrics, MeasuredAttempt},
    exchange::ExchangeMetrics,
    labels::MethodLabel,
    pool::{OpenConnection, PoolMetrics},
};
