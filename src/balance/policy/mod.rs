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

mod consistent_hash;
mod least_request;
mod p2c;
mod priority;
mod random;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;

use std::{sync::Arc, task::Waker};

use http::{Request, Response};

pub(super) use self::consistent_hash::mixed;
pub use self::{
    consistent_hash::ConsistentHash,
    least_request::LeastRequest,
    p2c::P2c,
    random::Random,
    round_robin::RoundRobin,
    sticky::{SameSite, Sticky},
};
use crate::{
    body::Body,
    endpoint::{Class, Endpoint, InFlight},
};

/// Any of the policies. Made by `into()` from each; see the [module docs](self).
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the policy of its name")]
pub enum Policy {
    P2c(P2c),
    RoundRobin(RoundRobin),
    LeastRequest(LeastRequest),
    Random(Random),
    ConsistentHash(ConsistentHash),
    Sticky(Sticky),
}

macro_rules! into_policy {
    ($($policy:ident),*) => {$(
        impl From<$policy> for Policy {
            fn from(policy: $policy) -> Self {
                Self::$policy(policy)
            }
        }
    )*};
}

into_policy!(P2c, RoundRobin, LeastRequest, Random, ConsistentHash, Sticky);

impl Default for Policy {
    fn default() -> Self {
        Self::P2c(P2c::default())
    }
}

pub(super) type Members<S> = [Arc<Endpoint<S>>];

/// A policy at work in one cluster.
pub(super) trait Picker<S>: Send + Sync {
    /// From now on the members are these.
    fn update(&mut self, members: &Members<S>);

    /// An endpoint for a request; none if all were tried. `members` are those of the last update.
    fn pick(&self, members: &Members<S>, ask: &Ask<'_, S>) -> Option<Picked<S>>;
}

/// What a request asks of the pick.
pub(super) struct Ask<'a, S> {
    /// Endpoints it has been to.
    pub(super) tried: &'a Members<S>,
    pub(super) affinity: Affinity,
}

impl<S> Ask<'_, S> {
    fn untried(&self, endpoint: &Arc<Endpoint<S>>) -> bool {
        !self.tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint))
    }

    /// The members worth a pick: untried ones that are ready; failing that, all that are untried.
    fn candidates<'m>(&self, members: &'m Members<S>) -> impl Iterator<Item = (usize, &'m Arc<Endpoint<S>>)> {
        let ready = |endpoint: &Arc<Endpoint<S>>| self.untried(endpoint) && endpoint.class() == Class::Ready;
        let any_ready = members.iter().any(ready);
        let fits = move |endpoint: &Arc<Endpoint<S>>| match any_ready {
            true => ready(endpoint),
            false => self.untried(endpoint),
        };
        members.iter().enumerate().filter(move |(_, endpoint)| fits(endpoint))
    }
}

/// What a request says about where it belongs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Affinity {
    /// The same for all that belong together.
    key: Option<u128>,
    /// It came to us by TLS.
    secure: bool,
}

/// The endpoint for one request, already counted there.
pub(super) struct Picked<S> {
    pub(super) endpoint: Arc<Endpoint<S>>,
    pub(super) in_flight: InFlight,
}

impl<S> Picked<S> {
    fn start(endpoint: &Arc<Endpoint<S>>) -> Self {
        Self { endpoint: endpoint.clone(), in_flight: endpoint.start() }
    }
}

/// What a picker needs from outside.
pub(super) struct Means {
    pub(super) rng: fastrand::Rng,
    /// Wakes all who wait for an endpoint.
    pub(super) waker: Waker,
}

impl Policy {
    pub(super) fn picker<S: Send + Sync + 'static>(&self, means: Means) -> Box<dyn Picker<S>> {
        match self {
            Self::Sticky(sticky) => Box::new(sticky.picker(means)),
            other => Box::new(priority::Tiers::new(other.clone(), means)),
        }
    }

    /// The picker of one tier.
    fn flat<S: Send + Sync + 'static>(&self, means: Means) -> Box<dyn Picker<S>> {
        match self {
            Self::P2c(p2c) => Box::new(p2c.picker(means)),
            Self::RoundRobin(_) => Box::new(round_robin::Wheel::default()),
            Self::LeastRequest(_) => Box::new(least_request::Scan::new(means.rng)),
            Self::Random(_) => Box::new(random::Dice::new(means.rng)),
            Self::ConsistentHash(hash) => Box::new(hash.picker(means)),
            Self::Sticky(sticky) => Box::new(sticky.picker(means)),
        }
    }

    /// What `request` says about where it belongs.
    pub(super) fn affinity(&self, request: &Request<Body>) -> Affinity {
        match self {
            Self::ConsistentHash(hash) => Affinity { key: hash.key(request), secure: false },
            Self::Sticky(sticky) => sticky.affinity(request),
            _ => Affinity::default(),
        }
    }

    /// Tells the client where it belongs from now on.
    pub(super) fn mark<B>(&self, response: &mut Response<B>, affinity: Affinity, endpoint: &Arc<str>) {
        if let Self::Sticky(sticky) = self {
            sticky.mark(response, affinity, endpoint);
        }
    }
}
