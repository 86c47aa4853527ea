//! What one more request at an endpoint would cost.

use std::cmp::Ordering;

/// The least is picked: health class first, then `(in-flight + 1) × latency / weight`, then the one whose turn came
/// longest ago.
///
/// Endpoints that are both idle are equal whatever their weights, unless their latencies differ: one request at a time
/// then goes round in proportion to the weights, where the formula alone would give the heaviest all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(super) class: Class,
    pub(super) in_flight: usize,
    /// Of one request, in seconds; 1 where latency does not count.
    pub(super) latency: f32,
    pub(super) weight: f32,
    /// Position in the schedule, then the number of its last pick.
    pub(super) turn: (u64, u64),
    /// The endpoint's own figure, in the place of in-flight and latency.
    pub(super) reported: Option<f64>,
}

/// Whether an endpoint should be used at all. A worse one is picked when there is no better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Ready,
    /// New, and busy with the first request it was ever given, so nobody knows whether it works.
    Untested,
    /// Has asked by `Retry-After` to be left alone.
    Away,
}

impl Cost {
    pub(super) fn reported(mut self, load: f64) -> Self {
        self.reported = Some(load);
        self
    }

    /// What is compared where both are of one class.
    pub(crate) fn value(&self) -> f64 {
        if let Some(load) = self.reported {
            return load / f64::from(self.weight);
        }
        // In this order equal shares of unequal weights stay exactly equal: 5/5 and 1/1, 2/6 and 1/3.
        (self.in_flight as f64 + 1.0) / f64::from(self.weight) * f64::from(self.latency)
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let by_load = match (self.in_flight, other.in_flight) {
            (0, 0) if self.reported.or(other.reported).is_none() => self.latency.total_cmp(&other.latency),
            _ => self.value().total_cmp(&other.value()),
        };
        self.class.cmp(&other.class).then(by_load).then(self.turn.cmp(&other.turn))
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
