//! The slow start of an endpoint: less than its share at first, since its caches are cold and its code is not compiled
//! yet.
//!
//! An endpoint that comes back from an ejection has one too, of as long as it was away.
//!
//! The weight grows linearly from a tenth to all of it within ten seconds. Envoy's `slow_start_config` has the same
//! shape, and the same least share by default.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::siblings::Micros;

/// How long a new endpoint gets less than its share.
const SLOW_START: Duration = Duration::from_secs(10);

/// The share of its weight that a new endpoint has at first.
const SLOW_START_SHARE: f32 = 0.1;

/// When an endpoint was inserted into a cluster at work, or was admitted again after an ejection, and how long it takes
/// to get its full share.
///
/// Two threads that read it while it begins anew may see one old value, which is corrected by the next look.
#[derive(Debug)]
pub(super) struct SlowStart {
    since: AtomicU64,
    /// In microseconds; 0 if it gets its full share.
    lasts: AtomicU64,
}

impl SlowStart {
    /// Begins at `since`; `None` if the cluster is new, too: then all endpoints are equally cold, and requests must go
    /// somewhere.
    pub(super) fn new(since: Option<Micros>) -> Self {
        let lasts = since.map_or(0, |_| SLOW_START.as_micros() as Micros);
        Self {
            since: AtomicU64::new(since.unwrap_or(0)),
            lasts: AtomicU64::new(lasts),
        }
    }

    /// Begins anew at `now`, for an endpoint that was out of use for as long as `away`. It is as cold as that has made
    /// it, so it is given the same time, and no more than a new one.
    pub(super) fn restart(&self, now: Micros, away: Duration) {
        self.since.store(now, Relaxed);
        let lasts = away.min(SLOW_START).as_micros() as Micros;
        self.lasts.store(lasts, Relaxed);
    }

    /// Returns the weight at `now`, which is less than `weight` during the slow start.
    pub(super) fn weight(&self, weight: NonZeroU32, now: Micros) -> f32 {
        let share = match self.lasts.load(Relaxed) {
            0 => 1.0,
            lasts => {
                let age = now.saturating_sub(self.since.load(Relaxed)) as f32;
                (age / lasts as f32).clamp(SLOW_START_SHARE, 1.0)
            }
        };
        weight.get() as f32 * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_grows_from_a_tenth() {
        let weight = NonZeroU32::new(10).unwrap();
        let slow = SlowStart::new(Some(0));
        let at = |seconds: u64| slow.weight(weight, seconds * 1_000_000);
        assert_eq!((at(0), at(5), at(10), at(60)), (1.0, 5.0, 10.0, 10.0));
        slow.restart(60_000_000, Duration::from_secs(2));
        assert_eq!((at(60), at(61), at(62)), (1.0, 5.0, 10.0));
        assert_eq!(SlowStart::new(None).weight(weight, 0), 10.0);
    }
}
