//! One server that can be sent to: what it is ([`EndpointSpec`]), whether it may be asked ([`Availability`]), and how
//! busy it is.
//!
//! An endpoint's service is any `tower::Service<Request<Body>>`: a [`Client`](crate::upstream::Client) for a URL, an
//! axum `Router` in the same process, a mock.
//!
//! ```
//! use axum_upstream::{EndpointSpec, LoadBalance};
//!
//! let heavy = EndpointSpec::url("http://10.0.0.1:8080")?.weight(3)?;
//! let light = EndpointSpec::url("http://10.0.0.2:8080;weight=1")?;
//! let backends = LoadBalance::builder().endpoints([heavy, light])?;
//! # Ok::<(), axum_upstream::Error>(())
//! ```

mod availability;
mod cost;
mod in_flight;
mod latency;
mod load;
mod member;
mod norms;
mod outstanding;
mod request_counter;
mod retry_after;
mod siblings;
mod spec;
mod spread;
mod survey;

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
    siblings::Siblings,
    spec::name_of_url,
};
