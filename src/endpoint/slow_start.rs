//! The slow start of an endpoint: less than its share at first, since its caches are cold and its code is not compiled
//! yet.
//!
//! The weight grows linearly from a tenth to all of it within ten seconds. Envoy's `slow_start_config` has the same
//! shape, and the same least share by default.

use std::{num::NonZeroU32, time::Duration};

use super::siblings::Micros;

/// How long a new endpoint gets less than its share.
const SLOW_START: Duration = Duration::from_secs(10);

/// The share of its weight that a new endpoint has at first.
const SLOW_START_SHARE: f32 = 0.1;

/// When an endpoint was inserted into a cluster at work. `None` if the cluster was new, too: then all endpoints are
/// equally cold, and requests must go somewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlowStart(pub(super) Option<Micros>);

impl SlowStart {
    /// Returns the weight at `now`, which is less than `weight` during the slow start.
    pub(super) fn weight(self, weight: NonZeroU32, now: Micros) -> f32 {
        let share = self.0.map_or(1.0, |since| {
            let age = now.saturating_sub(since) as f32 / SLOW_START.as_micros() as f32;
            age.clamp(SLOW_START_SHARE, 1.0)
        });
        weight.get() as f32 * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_grows_from_a_tenth() {
        let weight = NonZeroU32::new(10).unwrap();
        let at = |seconds: u64| SlowStart(Some(0)).weight(weight, seconds * 1_000_000);
        assert_eq!((at(0), at(5), at(10), at(60)), (1.0, 5.0, 10.0, 10.0));
        assert_eq!(SlowStart(None).weight(weight, 0), 10.0);
    }
}
