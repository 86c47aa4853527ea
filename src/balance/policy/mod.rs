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
#[cfg(test)]
mod fixture;
mod least_request;
mod p2c;
mod priority;
mod random;
mod round_robin;
mod sticky;

use std::{sync::Arc, task::Waker};

use http::{Request, Response};

pub(super) use self::consistent_hash::{hash, mixed};
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
    endpoint::{Endpoint, InFlight, Measure, Rank},
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

into_policy!(
    P2c,
    RoundRobin,
    LeastRequest,
    Random,
    ConsistentHash,
    Sticky
);

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
    fn candidates<'m>(
        &self,
        members: &'m Members<S>,
    ) -> impl Iterator<Item = (usize, &'m Arc<Endpoint<S>>)> {
        let ready =
            |endpoint: &Arc<Endpoint<S>>| self.untried(endpoint) && endpoint.rank() == Rank::Usable;
        let any_ready = members.iter().any(ready);
        let fits = move |endpoint: &Arc<Endpoint<S>>| match any_ready {
            true => ready(endpoint),
            false => self.untried(endpoint),
        };
        members
            .iter()
            .enumerate()
            .filter(move |(_, endpoint)| fits(endpoint))
    }
}

/// The one where a request costs least; of equals, the first.
fn cheapest<'m, S: 'm>(
    endpoints: impl Iterator<Item = &'m Arc<Endpoint<S>>>,
    measure: Measure,
) -> Option<&'m Arc<Endpoint<S>>> {
    let costs = endpoints.map(|endpoint| (endpoint, endpoint.cost(measure)));
    costs
        .min_by(|(_, a), (_, b)| a.compare(b))
        .map(|(endpoint, _)| endpoint)
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
        Self {
            endpoint: endpoint.clone(),
            in_flight: endpoint.start(),
        }
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
            Self::ConsistentHash(hash) => Box::new(hash.picker()),
            Self::Sticky(sticky) => Box::new(sticky.picker(means)),
        }
    }

    /// What `request` says about where it belongs.
    pub(super) fn affinity(&self, request: &Request<Body>) -> Affinity {
        match self {
            Self::ConsistentHash(hash) => Affinity {
                key: hash.key(request),
                secure: false,
            },
            Self::Sticky(sticky) => sticky.affinity(request),
            _ => Affinity::default(),
        }
    }

    /// Tells the client where it belongs from now on.
    pub(super) fn mark<B>(
        &self,
        response: &mut Response<B>,
        affinity: Affinity,
        endpoint: &Arc<str>,
    ) {
        if let Self::Sticky(sticky) = self {
            sticky.mark(response, affinity, endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::{
        fixture::{Cluster, KEY, keyed},
        *,
    };
    use crate::{endpoint::EndpointSpec, record::Verdict};

    fn all() -> Vec<Policy> {
        vec![
            P2c::new().into(),
            P2c::in_flight().into(),
            P2c::reported().into(),
            RoundRobin.into(),
            LeastRequest.into(),
            Random.into(),
            ConsistentHash::header(KEY).into(),
            ConsistentHash::header(KEY).bounded_load(1.25).into(),
            Sticky::cookie("backend").unwrap().into(),
        ]
    }

    #[test]
    fn tried_ones_are_not_picked_again() {
        for policy in all() {
            let cluster = Cluster::new(policy.clone(), &[1; 10]);
            let mut tried = Vec::new();
            while let Some(picked) = cluster.pick_for(&tried, &keyed(7)) {
                tried.push(picked.endpoint);
            }
            assert_eq!(tried.len(), 10, "{policy:?}");
        }
    }

    /// S26: after the update that removed it, nobody gets it, and nothing keeps it.
    #[test]
    fn what_left_is_neither_picked_nor_kept() {
        for policy in all() {
            let mut cluster = Cluster::new(policy.clone(), &[1, 4, 1]);
            for n in 0..50 {
                let gone = cluster.remove(n % 3);
                let name = gone.name().clone();
                assert!((0..20).all(|key| {
                    *cluster.pick_for(&[], &keyed(key)).unwrap().endpoint.name() != name
                }));
                assert_eq!(Arc::strong_count(&gone), 1, "{policy:?} keeps {gone:?}");
                cluster.add(EndpointSpec::new(name, ()));
            }
            while !cluster.members.is_empty() {
                cluster.remove(0);
            }
            assert!(cluster.pick(&[]).is_none());
        }
    }

    #[test]
    fn shares_follow_weights() {
        let weighted = |policy: &Policy| !matches!(policy, Policy::ConsistentHash(_));
        for policy in all().into_iter().filter(weighted) {
            for weights in [
                &[1, 1, 1][..],
                &[5, 1, 1],
                &[10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
                &[100, 100, 1],
            ] {
                let total: u32 = weights.iter().sum();
                let shares = Cluster::new(policy.clone(), weights).shares();
                for (weight, share) in weights.iter().zip(&shares) {
                    let fair = f64::from(*weight) / f64::from(total);
                    assert!(
                        (share / fair - 1.0).abs() < 0.25,
                        "{policy:?}: {weights:?} gave {shares:?}"
                    );
                }
            }
        }
    }

    /// Who asked to be left alone is, as long as there is another; when more than half ask, all are used.
    #[tokio::test(start_paused = true)]
    async fn retry_after_is_honoured() {
        for policy in all() {
            let cluster = Cluster::new(policy.clone(), &[1, 1, 1, 1]);
            let Picked {
                endpoint: away,
                mut in_flight,
            } = cluster.pick(&[]).unwrap();
            in_flight.answered(Verdict::Failure, Some(Duration::from_secs(30)));
            drop(in_flight);
            let share = || {
                let is_away = |key| {
                    *cluster.pick_for(&[], &keyed(key)).unwrap().endpoint.name() == *away.name()
                };
                (0..200).filter(|key| is_away(*key)).count()
            };
            assert_eq!(share(), 0, "{policy:?}");
            tokio::time::advance(Duration::from_secs(31)).await;
            // What latency and failures make of it takes a while to be forgotten.
            if !matches!(policy, Policy::P2c(_) | Policy::Sticky(_)) {
                assert!(share() > 0, "{policy:?} does not use it again");
            }
        }
    }

    /// S13, and the turns that two idle endpoints take.
    #[test]
    fn one_at_a_time_goes_round() {
        for policy in [
            Policy::from(P2c::new()),
            P2c::in_flight().into(),
            LeastRequest.into(),
        ] {
            assert!(
                ["010101", "101010"].contains(&&*Cluster::new(policy.clone(), &[1, 1]).names(6))
            );
            let heavy = Cluster::new(policy.clone(), &[5, 1]).names(600);
            assert!(
                heavy.matches('1').count().abs_diff(100) <= 10,
                "{policy:?}: {heavy}"
            );
            for n in 3..=10 {
                let cluster = Cluster::new(policy.clone(), &vec![1; n]);
                let mut counts = BTreeMap::<_, usize>::new();
                for _ in 0..1_000 {
                    *counts
                        .entry(cluster.pick(&[]).unwrap().endpoint.name().clone())
                        .or_default() += 1;
                }
                let most = *counts.values().max().unwrap() as f64;
                assert!(
                    most / (1_000.0 / n as f64) <= 1.05,
                    "{policy:?}: {counts:?}"
                );
            }
        }
    }
}
