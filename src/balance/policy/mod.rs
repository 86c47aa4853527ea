//! Policies: how an endpoint is picked from the members of a cluster.
//!
//! | policy | picks | use it for |
//! |---|---|---|
//! | [`P2c`] | the better of two drawn at random, by requests in flight and latency | nearly everything: the default |
//! | [`RoundRobin`] | one after the other, by weight | endpoints and requests that are all alike |
//! | [`LeastRequest`] | the one with the fewest requests in flight | few endpoints, one proxy |
//! | [`Random`] | any, by weight | comparisons; very many proxies |
//! | [`ConsistentHash`] | always the same one for the same key | caches, shards |
//! | [`Sticky`] | the one that answered the client before, by a cookie | sessions kept in an endpoint's memory |
//!
//! # What all policies have in common
//!
//! - Weights: an endpoint of weight 2 gets twice as many requests as one of weight 1. One of weight 0 gets none.
//! - [Priorities](crate::EndpointSpec::priority): endpoints of the next tier get what the tiers before them are too
//!   weak for.
//! - A request is never given to an endpoint that it has tried before, nor to one that has been removed.
//! - An endpoint that asked to be left alone, by a `Retry-After` on a 503, gets no requests until then, unless no other
//!   endpoint is left or more than half of the endpoints have asked for it.
//!
//! # The cost of a pick
//!
//! [`P2c`], and [`Sticky`] for a client that has its cookie, take the same time at any number of endpoints. The others
//! look at every endpoint, and so does a pick from a cluster with more than one priority.
//!
//! # Example
//!
//! ```
//! use axum_upstream::{LoadBalance, policy::{ConsistentHash, P2c, RoundRobin, Sticky}};
//!
//! let urls = ["http://127.0.0.1:5000", "http://127.0.0.1:5001;weight=2"];
//! let backends = LoadBalance::builder().policy(RoundRobin).urls(urls)?;
//! let backends = LoadBalance::builder().policy(P2c::in_flight()).urls(urls)?;
//! let backends = LoadBalance::builder().policy(ConsistentHash::path()).urls(urls)?;
//! let backends = LoadBalance::builder().policy(Sticky::cookie("backend")?).urls(urls)?;
//! # Ok::<(), axum_upstream::Error>(())
//! ```
//!
//! A policy may also be chosen by its name, as in a configuration file:
//!
//! ```
//! use axum_upstream::{LoadBalance, policy::Policy};
//!
//! let policy: Policy = "least-request".parse()?;
//! let backends = LoadBalance::builder().policy(policy).urls(["http://127.0.0.1:5000"])?;
//! # Ok::<(), axum_upstream::Error>(())
//! ```

// The policies are settings: plain values that users make. `Policy::picker` makes the `Picker` of one, which is the
// policy at work over one set of endpoints. `PriorityPicker` wraps the pickers of all policies but `Sticky`, one per
// tier; `Sticky` wraps the picker of the policy beneath it, tiers included. There is one file per policy; `any` has
// `Policy` and `Sticky`, which refer to each other.

mod any;
mod consistent_hash;
#[cfg(test)]
mod fixture;
mod handle_balance;
mod least_request;
mod p2c;
mod picker;
mod priority;
mod random;
mod reported;
mod round_robin;
mod sticky;

pub(super) use self::picker::{Affinity, Endpoints, PickInfo, Picked, Picker};
/// A measure of an endpoint's load, which [`EndpointSpec::load`](crate::EndpointSpec::load) takes and
/// [`P2c::reported`] compares.
pub use tower::load::Load;

pub use self::{
    any::{Policy, Sticky},
    consistent_hash::ConsistentHash,
    least_request::LeastRequest,
    p2c::P2c,
    random::Random,
    round_robin::RoundRobin,
    sticky::SameSite,
};
