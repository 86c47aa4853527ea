//! The cost of one more request at an endpoint: the value by which policies compare endpoints.
//!
//! [`Load`](super::load::Load) computes it, and this file defines which of two costs is lower. A cost is computed from
//! the clock of the pick at hand and is not kept.

use std::cmp::Ordering;

use super::availability::Rank;

/// The cost of one more request at an endpoint. The endpoint of the lowest cost is picked.
///
/// Three things are compared, each one only if those before it are equal:
///
/// 1. the [`Rank`];
/// 2. the load, `(requests in flight + 1) × latency / weight`, or what takes its place. Between two endpoints that are
///    both idle, it is the latency alone;
/// 3. the turn: the endpoint that is further behind its share by weight, then the one that was picked longer ago.
///
/// Two costs can be compared, but costs are not totally ordered. Idle endpoints are compared with each other by one
/// number and with a busy one by another, and an unknown latency equals any other, so "not more than" is not
/// transitive. The least of many, as `Iterator::min_by` finds it, is therefore only one that no endpoint after it in
/// the iteration undercuts. tower's `Balance` compares two at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(super) rank: Rank,
    /// What is compared within a rank, in a unit that the measure chooses: by latency, multiples of the cluster's
    /// median per unit of weight; otherwise requests, or the user's own unit, per unit of weight. Never NaN.
    pub(super) load: f64,
    /// What is compared instead of `load` if both endpoints are idle. It does not depend on weights: requests that come
    /// one at a time then go round in proportion to the weights, whereas `load` would give all of them to the
    /// endpoint with the highest weight.
    pub(super) idle: Idle,
    /// The position in the schedule of turns, then the number of the endpoint's last pick.
    pub(super) turn: (u64, u64),
}

/// How long an endpoint is expected to take that has no request in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Idle {
    /// The expected latency, as a multiple of the cluster's median. Small differences have been removed.
    Takes(f32),
    /// Too little is known, so the endpoint equals any other idle one, and its turn decides.
    Unknown,
    /// The endpoint is not idle: `load` is compared.
    Busy,
}

impl Cost {
    /// Returns the load, which is compared within a rank.
    pub(crate) fn load(&self) -> f64 {
        self.load
    }

    /// Compares by rank, then by load or idle latency, then by turn.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let by_load = match (self.idle, other.idle) {
            (Idle::Takes(own), Idle::Takes(others)) => own.total_cmp(&others),
            (Idle::Takes(_) | Idle::Unknown, Idle::Takes(_) | Idle::Unknown) => Ordering::Equal,
            _ => self.load.total_cmp(&other.load),
        };
        self.rank
            .cmp(&other.rank)
            .then(by_load)
            .then(self.turn.cmp(&other.turn))
    }
}

/// Equal if neither is lower, as `PartialOrd` requires.
impl PartialEq for Cost {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }
}

/// tower's `Balance` compares loads by this. It is [`Cost::compare`], and always returns an ordering.
impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.compare(other))
    }
}
