//! One server that can be sent to: what it is ([`EndpointSpec`]), and how busy it is.
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

mod cost;
mod latency;
mod load;
mod outcome;
mod peers;
mod spec;
mod state;
mod waiting;

pub(crate) use self::{
    cost::{Class, Cost},
    latency::Latency,
    load::Load,
    outcome::Outcome,
    peers::Peers,
    spec::canonical_name,
    state::{Endpoint, Measure},
};
pub use self::{
    load::InFlight,
    spec::{BoxService, EndpointSpec},
};
