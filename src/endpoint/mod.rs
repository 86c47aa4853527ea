//! One server that requests can be sent to: what it is ([`EndpointSpec`]), whether it may be given requests
//! ([`Availability`]), and what one more request there would cost.
//!
//! An endpoint's service is any `tower::Service<Request<Body>>`: a [`Client`](crate::upstream::Client) for a URL, an
//! axum `Router` in the same process, a mock.
//!
//! An endpoint never picks, sends or waits; [`LoadBalance`](crate::LoadBalance) does that. What is here observes the
//! requests that are sent, and answers the question that every policy asks: which of these endpoints should be next?
//!
//! ```
//! use axum_upstream::{EndpointSpec, LoadBalance};
//!
//! let heavy = EndpointSpec::url("http://10.0.0.1:8080")?.weight(3)?;
//! let light = EndpointSpec::url("http://10.0.0.2:8080;weight=1")?;
//! let backends = LoadBalance::builder().endpoints([heavy, light])?;
//! # Ok::<(), axum_upstream::Error>(())
//! ```

// How the files work together. Each one depends only on those further down.
//
// - `member`: an endpoint in use, the service and everything below; `survey`: the periodic look at all of them.
// - `in_flight`: the guard of one request, which reports to the load what becomes of it; with `upload_clock`, which
//   notes when its body has been sent.
// - `load`: the state of one endpoint. It combines what the following observe into a `cost`: `request_counter` (how
//   many requests are in flight) and `in_flight_limit` (how many there may be), `outstanding` (whether it answers at
//   all), `latency` (how long it takes), `slow_start` (how much of its weight counts) and `turn` (which of equals is
//   next). `waiters` wakes requests that wait for it, and `decay` is how averages forget.
// - `siblings`: what the endpoints of a cluster share: a clock, and the `norms` that a survey has learned, of which
//   `spread` says what is chance.
//
// `spec` is what users describe an endpoint by, and `retry_after` reads a field of responses.
//
// All state is in atomics, most of them relaxed: a pick reads the state of several endpoints while requests begin and
// end on other threads. An estimate that is off by one request is as good, and a lock would be contended by every pick.
// The exception is draining, which must not lose a request; see `Load::drain`.
mod availability;
mod cost;
mod costing;
mod decay;
mod health;
mod in_flight;
mod in_flight_body;
mod in_flight_limit;
mod latency;
mod load;
mod member;
mod norms;
#[cfg(feature = "status")]
mod observed;
mod outstanding;
mod request_counter;
mod retry_after;
mod siblings;
mod slow_start;
mod spec;
mod spread;
mod survey;
mod turn;
mod turned_away;
mod upload_clock;
mod waiters;

pub use self::{
    availability::Availability,
    spec::{BoxService, EndpointSpec},
};
pub(crate) use self::{
    availability::Rank,
    cost::Cost,
    in_flight::InFlight,
    latency::Latency,
    load::Load,
    member::{Endpoint, Measure},
    retry_after::retry_after,
    siblings::{SharedSettings, Siblings},
    spec::name_of_url,
};
