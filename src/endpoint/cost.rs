//! The cost of one more request at an endpoint: the value by which policies compare endpoints.
//!
//! [`Load`](super::load::Load) computes it, and this file defines which of two costs is lower. A cost is computed from
//! the clock of the pick at hand and is not kept.
//!
//! # Weights
//!
//! Take an endpoint of weight 5 with one request in flight, and an idle one of weight 1. With another request, the
//! first would have 2/5 in flight per weight, and the second 1. So `(in flight + 1) / weight` favours the heavier
//! one, as long as few requests are in flight: of 5 : 1 : 1, it got 75.9 % rather than 71.4 %. `in flight / weight`
//! favours the lighter one: 1/5 is more than 0. These are the methods of D'Hondt and Adams for the seats of a
//! parliament, and no divisor between them is right for each number of seats.
//!
//! Neither endpoint is overloaded here; all that differs is how large one request is. While the lighter one is due to
//! get one request, the heavier one is due to get `r`, the ratio of the weights. So the next one of the lighter
//! endpoint is compared with the next `r` of the heavier one. If it would cost less than the first of them, the
//! lighter endpoint is cheaper; if it would cost more than the last of them, the heavier one is. In between, what is
//! left to decide is the order of these requests, and that is decided by turn, which is exact. With equal weights,
//! `r` is 1, and there is nothing in between.

use std::cmp::Ordering;

use super::availability::Rank;

/// The cost of one more request at an endpoint. The endpoint of the lowest cost is picked.
///
/// Three things are compared, each one only if those before it are equal:
///
/// 1. the [`Rank`];
/// 2. the load, `(requests in flight + 1) × latency / weight`, or what takes its place. Between endpoints of
///    different weights, it has to differ by more than the size of one request: see the [file](self). Between two
///    endpoints that are both idle, it is the latency alone;
/// 3. the turn: the endpoint that is further behind its share by weight, then the one that was picked longer ago.
///
/// Two costs can be compared, but costs are not totally ordered. Idle endpoints are compared with each other by one
/// number and with a busy one by another, an unknown latency equals any other, and so do loads that are about the
/// same, so "not more than" is not transitive. The least of many, as `Iterator::min_by` finds it, is therefore only
/// one that no endpoint after it in the iteration undercuts. tower's `Balance` compares two at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(super) rank: Rank,
    /// What is compared within a rank, in a unit that the measure chooses: by latency, multiples of the cluster's
    /// median per unit of weight; otherwise requests, or the user's own unit, per unit of weight. Never NaN.
    pub(super) load: f64,
    /// What the load of a request is before it is divided by the weight: its latency, or 1 where requests are
    /// counted. 0 for a measure of the user's, which says nothing about single requests.
    pub(super) request: f64,
    /// What `load` was divided by. Less than the configured weight during a slow start.
    pub(super) weight: f64,
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
    /// Returns the load that an endpoint of weight `unit` would have with as many requests in flight for its weight.
    ///
    /// It is the same for endpoints that are equally busy, whatever their weights, while `load` is lower for the
    /// heavier one: 0.2 and 1 for idle endpoints of weights 5 and 1.
    pub(crate) fn load_at(&self, unit: f64) -> f64 {
        // The difference is 0, and the result exact, for an endpoint of that weight.
        self.load + self.request * (unit.recip() - self.weight.recip())
    }

    /// Compares by rank, then by load or idle latency, then by turn.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let by_load = match (self.idle, other.idle) {
            (Idle::Takes(own), Idle::Takes(others)) => own.total_cmp(&others),
            (Idle::Takes(_) | Idle::Unknown, Idle::Takes(_) | Idle::Unknown) => Ordering::Equal,
            _ => self.compare_load(other),
        };
        self.rank
            .cmp(&other.rank)
            .then(by_load)
            .then(self.turn.cmp(&other.turn))
    }

    /// Compares by load. Loads of endpoints of different weights are equal if they differ by no more than the size of
    /// one request: see the [file](self).
    fn compare_load(&self, other: &Self) -> Ordering {
        let (heavier, lighter) = match self.weight >= other.weight {
            true => (self, other),
            false => return other.compare_load(self).reverse(),
        };
        let gap = lighter.load - heavier.load;
        if gap < 0.0 {
            return Ordering::Greater;
        }
        // The last of the heavier one's next `r` requests costs `(in flight + r) / weight × latency`, more than the
        // first by `(r - 1) / weight × latency`, and `r` is `weight / lighter weight`. Both sides are multiplied by the
        // weights, to save the divisions.
        let size = heavier.request * (heavier.weight - lighter.weight);
        match gap * heavier.weight * lighter.weight > size {
            true => Ordering::Less,
            false => Ordering::Equal,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the cost at an endpoint that answers in `latency`.
    fn cost(weight: f64, in_flight: f64, latency: f64) -> Cost {
        Cost {
            rank: Rank::Usable,
            load: (in_flight + 1.0) / weight * latency,
            request: latency,
            weight,
            idle: Idle::Busy,
            turn: (0, 0),
        }
    }

    /// Returns the ordering, and checks that the other way round it is the reverse.
    fn compare(a: Cost, b: Cost) -> Ordering {
        assert_eq!(a.compare(&b), b.compare(&a).reverse());
        a.compare(&b)
    }

    #[test]
    fn equal_weights_compare_by_load() {
        for weight in [0.1, 1.0, 7.0] {
            let [one, two] = [1.0, 2.0].map(|in_flight| cost(weight, in_flight, 1.0));
            assert_eq!(compare(one, two), Ordering::Less);
            assert_eq!(compare(one, one), Ordering::Equal);
            // The least difference there is.
            let load = f64::from_bits(one.load.to_bits() + 1);
            assert_eq!(compare(one, Cost { load, ..one }), Ordering::Less);
        }
    }

    /// With `n` at the lighter endpoint, the heavier one is cheaper below `5 n`, and dearer from `5 (n + 1)`.
    #[test]
    fn within_the_size_of_a_request_the_turn_decides() {
        for lighter in 0..10 {
            for heavier in 0..60 {
                let expected = match heavier {
                    _ if heavier < 5 * lighter => Ordering::Less,
                    _ if heavier < 5 * (lighter + 1) => Ordering::Equal,
                    _ => Ordering::Greater,
                };
                // Weights whose quotients are exact in binary.
                let heavy = cost(5.0, f64::from(heavier), 5.0);
                let light = cost(1.0, f64::from(lighter), 5.0);
                assert_eq!(compare(heavy, light), expected, "{heavier} and {lighter}");
                let turn = (1, 0);
                let behind = compare(Cost { turn, ..heavy }, light);
                assert_eq!(behind, expected.then(Ordering::Greater));
            }
        }
    }

    /// An endpoint of weight 4 compares like four of weight 1 with a quarter of its requests each.
    #[test]
    fn a_slow_endpoint_costs_more() {
        let slow = cost(1.0, 0.0, 3.0);
        for (in_flight, expected) in [
            (7.0, Ordering::Less),
            (8.0, Ordering::Equal),
            (12.0, Ordering::Greater),
        ] {
            assert_eq!(compare(cost(4.0, in_flight, 1.0), slow), expected);
        }
        let slow = cost(4.0, 0.0, 3.0);
        assert_eq!(compare(slow, cost(1.0, 0.0, 0.5)), Ordering::Greater);
        assert_eq!(compare(slow, cost(1.0, 3.0, 1.0)), Ordering::Less);
    }

    #[test]
    fn what_costs_infinitely_much_is_dearer_than_any_number() {
        let infinite = cost(1.0, f64::INFINITY, 1.0);
        assert_eq!(compare(infinite, infinite), Ordering::Equal);
        for weight in [0.5, 1.0, 2.0] {
            assert_eq!(compare(cost(weight, 1e9, 1.0), infinite), Ordering::Less);
        }
    }

    #[test]
    fn at_one_weight_idle_endpoints_have_the_same_load() {
        for weight in [0.25, 1.0, 2.0, 8.0] {
            assert_eq!(cost(weight, 0.0, 3.0).load_at(2.0), 1.5);
            assert_eq!(cost(weight, 4.0 * weight, 1.0).load_at(2.0), 4.5);
        }
        // Exactly its own load for an endpoint of that weight, also where the quotient is rounded.
        assert_eq!(
            cost(49.0, 3.0, 0.1).load_at(49.0),
            cost(49.0, 3.0, 0.1).load
        );
    }
}
