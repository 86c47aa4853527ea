//! What one more request at an endpoint would cost.

use std::cmp::Ordering;

use super::availability::Rank;

/// The least is picked: rank first, then `(in-flight + 1) × latency / weight`, then the one whose turn came
/// longest ago.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(super) rank: Rank,
    pub(super) load: f64,
    /// What counts between two endpoints that are both idle: about how long they take, whatever their weights. One
    /// request at a time then goes round in proportion to the weights, where `load` would give the heaviest all.
    pub(super) idle: Idle,
    /// Position in the schedule, then the number of its last pick.
    pub(super) turn: (u64, u64),
}

/// How long an endpoint takes for which nothing is in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Idle {
    Takes(f32),
    /// Nobody knows, so it takes its turn.
    Unknown,
    /// It is not idle.
    Busy,
}

impl Cost {
    /// What is compared within a rank.
    pub(crate) fn load(&self) -> f64 {
        self.load
    }

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

impl PartialEq for Cost {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }
}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.compare(other))
    }
}
