//! Load balancing over the endpoints of a cluster.
//!
//! A [`LoadBalance`] is a tower service that sends each request to one endpoint of its cluster: by default to the
//! better of two drawn at random, or as another [`policy`] says.
//!
//! The endpoints come from a list of URLs, from a list of [`EndpointSpec`](crate::EndpointSpec)s, or from any
//! [`tower::discover::Discover`]; a [`Handle`] changes them while requests are served.
//!
//! # Example
//!
//! ```
//! use axum_upstream::{EndpointSpec, LoadBalance};
//!
//! let backends = LoadBalance::new(["http://127.0.0.1:5000", "http://127.0.0.1:5001;weight=2"])?;
//! let handle = backends.handle();
//!
//! handle.insert(EndpointSpec::url("http://127.0.0.1:5002")?);
//! if let Some(draining) = handle.remove("http://127.0.0.1:5000") {
//!     // No new request goes there; `draining.finished().await` returns when the last one has ended.
//!     assert_eq!(draining.in_flight(), 0);
//! }
//! assert_eq!(handle.endpoints().len(), 2);
//! # Ok::<(), axum_upstream::Error>(())
//! ```
//!
//! An endpoint is any tower service, and the response says which one answered:
//!
//! ```
//! use axum_upstream::{Body, EndpointSpec, Info, LoadBalance, policy::RoundRobin};
//! use http::{Request, Response};
//! use tower::{ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), axum_upstream::BoxError> {
//! let hello = service_fn(|_: Request<Body>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new(Body::from("hello")))
//! });
//! let cluster = LoadBalance::builder()
//!     .policy(RoundRobin)
//!     .endpoints([EndpointSpec::new("a", hello), EndpointSpec::new("b", hello)])?;
//!
//! for name in ["a", "b", "a"] {
//!     let response = cluster.clone().oneshot(Request::new(Body::empty())).await?;
//!     let info = response.extensions().get::<Info>();
//!     assert_eq!(info.and_then(Info::endpoint), Some(name));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - A request counts as load at its endpoint from the pick to the last byte of the response body, or to the drop of
//!   its future or body.
//! - Once [`Handle::remove`] has returned and [`Draining::finished`] has completed, the endpoint's service is not
//!   called again, except that a [health check](crate::health) in progress may end a moment later.
//! - No lock is held while code of the user runs: services, load measures, hash keys and discovery streams may use the
//!   [`Handle`] of the cluster they belong to.
//!
//! # What is done about endpoints that fail
//!
//! - A request of which no byte was sent goes to another endpoint, whatever its method, and to ten of them at most.
//! - A request that an endpoint may have received is sent once more if its method is idempotent and its body was kept:
//!   [`retry`](crate::retry) has the rules, and the budget.
//! - An endpoint that fails is [ejected](crate::health::Ejection) for a while, and comes back by a single request. One
//!   that is slow gets fewer requests under [`P2c`](policy::P2c). A `Retry-After` on a 503 is honoured by every policy.
//! - Where no endpoint answers, or none is there, a request fails at once, unless discovery has not reported yet
//!   ([`LoadBalanceBuilder::ready_timeout`]) or a hook wakes the cluster ([`LoadBalanceBuilder::wake`]).
//! - Opt-in: [active checks](crate::health), [hedging](crate::retry::Hedge), and
//!   [in-flight limits](LoadBalanceBuilder::max_in_flight) with a [queue](LoadBalanceBuilder::queue).
//!
//! But for the ready timeout, the per-try timeout and that of the queue there are no deadlines here: they belong to the
//! [`ReverseProxy`](crate::ReverseProxy) in front and to the [`Client`](crate::upstream::Client) behind.

// How the parts work together:
//
// - `builder` makes a `Cluster` and the `LoadBalance` over it; `driver` is the task that follows a `Discover`,
//   and `prober` the one that checks the endpoints.
// - `cluster` is what all clones and handles share. A change (`handle`, `driver`) locks its `members` and publishes the
//   next `snapshot`; a pick reads the latest snapshot and takes no lock of the cluster.
// - `policy` picks from a snapshot. It never sends.
// - `dispatch` is one request, the loop over its attempts: it waits if it must (`queueing`, `wake`), sends, and goes on
//   to another endpoint as `retries` and `hedge_timer` say. `body` keeps the request in flight until the response has
//   ended.
// - `remembered` keeps the latency estimates of endpoints that left, so that a restart does not lose them.

mod body;
mod builder;
mod cluster;
mod cluster_settings;
mod construct;
mod discovery_backoff;
mod dispatch;
mod driver;
#[cfg(feature = "status")]
mod explain;
mod handle;
mod hedge_timer;
mod members;
pub mod policy;
mod prober;
mod queueing;
mod remembered;
mod retries;
mod service;
mod snapshot;
#[cfg(feature = "status")]
mod status;
mod wake;

#[cfg(feature = "config")]
pub(crate) use self::handle::EndpointChange;
pub use self::{
    body::ResponseBody,
    builder::LoadBalanceBuilder,
    dispatch::ResponseFuture,
    handle::{Draining, EndpointStatus, Handle},
    service::LoadBalance,
};
