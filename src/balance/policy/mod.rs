//! How an endpoint is picked from the members of a cluster. One file per policy.
//!
//! | policy | picks | use it for |
//! |---|---|---|
//! | [`P2c`] | the better of two drawn at random, by requests in flight and latency | nearly everything: the default |
//! | [`RoundRobin`] | one after the other, by weight | endpoints and requests that are all alike |
//! | [`LeastRequest`] | the one with the fewest requests in flight | few endpoints, one proxy |
//! | [`Random`] | any, by weight | comparisons; very many proxies |
//! | [`ConsistentHash`] | always the same for the same key | caches, shards |
//! | [`Sticky`] | the one a client had before, by a cookie | sessions kept in an endpoint's memory |
//!
//! All of them honour weights and [priorities](crate::EndpointSpec::priority), never give a request to an endpoint that
//! it has tried before or that was removed, and leave alone those that asked for it by `Retry-After`, unless that is
//! more than half.
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

mod any;
mod consistent_hash;
mod cookie;
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
/// What [`EndpointSpec::load`](crate::EndpointSpec::load) takes: a measure of an endpoint's load.
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
