//! Whether an endpoint works: what its requests show, what checks of it show, and what is done about it.
//!
//! # Ejection
//!
//! [`Ejection`] has the settings of passive ejection: an endpoint that fails is taken out of use for a while, and comes
//! back by a single successful request. The default suits most clusters:
//!
//! ```
//! use std::time::Duration;
//!
//! use axum_upstream::{LoadBalance, health::Ejection};
//!
//! let ejection = Ejection::default()
//!     .consecutive_failures(3)?
//!     .backoff(Duration::from_millis(500), Duration::from_secs(30))?;
//! let backends = LoadBalance::builder()
//!     .ejection(ejection)
//!     .urls(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
//! # Ok::<(), axum_upstream::Error>(())
//! ```
//!
//! `docs/RESILIENCE.md` has the states of an endpoint, and says how ejection, retries and limits act together.
//!
//! # Active checks
//!
//! [`HealthCheck`] describes a request of the cluster's own, which finds out that an endpoint does not work before a
//! client does, and that it works again.
//! [`LoadBalanceBuilder::health_check`](crate::balance::LoadBalanceBuilder::health_check) applies it to every endpoint
//! of a cluster. There are none by default.
//!
//! ```
//! use axum_upstream::{HealthCheck, LoadBalance};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), axum_upstream::Error> {
//! let check = HealthCheck::http("/healthz")?.interval(Duration::from_secs(5))?.timeout(Duration::from_secs(1))?;
//! let backends = LoadBalance::builder()
//!     .health_check(check)
//!     .urls(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
//! # Ok(())
//! # }
//! ```
//!
//! ## What a failure does
//!
//! After two failures in a row ([`HealthCheck::unhealthy_after`]) the endpoint gets no requests; those in flight are
//! not affected. The first check that passes ([`HealthCheck::healthy_after`]) opens it again at once, and ends an
//! ejection, too. While fewer than half of a cluster are well, requests are sent to endpoints that fail their checks
//! all the same: a check that is wrong must not take a whole site down.
//!
//! A check that fails for want of something in this process, a file descriptor or a place among
//! [`max_connections`](crate::upstream::ClientBuilder::max_connections), says nothing about the endpoint and is
//! ignored. A panic of the endpoint's service, or of a closure given to [`HealthCheck::accept`], is a failed check.
//!
//! ## When checks are made
//!
//! The first check of an endpoint is made as soon as it is in the cluster. The second one follows after a random part
//! of the interval, so that the checks of a large cluster spread over it; after that they are one
//! [interval](HealthCheck::interval) apart, give or take 10 % at random. At most 16 checks of a cluster are in progress
//! at once; more wait for their turn.
//!
//! Endpoints of weight 0, and those outside of the
//! [subset](crate::balance::LoadBalanceBuilder::subset), are not checked.
//!
//! ## What a check is not
//!
//! It goes to the endpoint's own service, so it uses the connections, the TLS settings and the base path that requests
//! use; but it passes neither the proxy nor the balancer. It counts neither as load nor as an attempt, follows no
//! redirect, and is not repeated.

// What is here knows one endpoint and no cluster.
//
// `EjectionState` (`state`) observes the outcomes of attempts and says when its endpoint should be ejected; the survey
// of the cluster (`endpoint/survey.rs`) decides whether it is, since that depends on the others.
//
// The files of active checks; each one depends only on those further down. When an endpoint is checked, and what is
// done with the results, is decided by `balance/prober.rs`.
//
// - `probe`: one endpoint's checks, one after the other, within the timeout; what a user's code does wrong.
// - `check`: what users set.
// - `http`, `grpc`: the two kinds of checks that send requests. A TCP check is a future that the endpoint provides.
// - `message`: what gRPC's health protocol looks like on the wire.
// - `thresholds`: how many results in a row open or shut an endpoint. A pure state machine.
// - `failure`: why a check failed.

mod check;
mod ejection;
mod failure;
mod grpc;
mod http;
mod message;
mod probe;
mod state;
mod success_rate;
mod thresholds;

pub use self::{check::HealthCheck, ejection::Ejection};
pub(crate) use self::{
    probe::{ConnectFuture, Probe},
    state::{EjectionState, Trip},
    success_rate::Rate,
    thresholds::{HealthChange, Thresholds},
};
