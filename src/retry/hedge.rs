//! [`Hedge`]: when a second endpoint is asked beside the first.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use crate::error::Error;

/// When a second attempt begins beside the first: after a fixed delay, or after a percentile of the cluster's latency.
///
/// A request that waits longer than nearly all others is sent to another endpoint as well; the first acceptable answer
/// counts, and the other attempt is cancelled (Dean and Barroso, "The Tail at Scale", 2013). Where one answer in a
/// hundred is slow by chance, that takes most of the slowness away, for a few percent more requests.
///
/// Only requests are hedged that may be processed twice: those with an idempotent method, whose body is empty or has
/// been received and kept as a whole. A hedge is taken out of the [budget](super::RetryBudget), like a retry.
///
/// ```
/// use axum_upstream::{LoadBalance, retry::Hedge};
///
/// let backends = LoadBalance::builder()
///     .hedge(Hedge::percentile(0.95)?)
///     .urls(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hedge(HedgeAfter);

#[derive(Clone, Copy, Debug, PartialEq)]
enum HedgeAfter {
    Delay(Duration),
    Percentile(f32),
}

impl Hedge {
    /// Hedges a request that has waited for `delay`.
    ///
    /// # Errors
    ///
    /// A config error if the delay is 0: each request would be sent twice.
    pub fn after(delay: Duration) -> Result<Self, Error> {
        if delay.is_zero() {
            return Err(Error::config("hedge", "the delay must be more than 0"));
        }
        Ok(Self(HedgeAfter::Delay(delay)))
    }

    /// Hedges a request that has waited longer than this share of all requests, from 0 to 1: 0.95 for the 95th
    /// percentile.
    ///
    /// The percentile is a running one, over some hundreds of requests of the cluster. Nothing is hedged before twenty
    /// have been answered.
    ///
    /// # Errors
    ///
    /// A config error if it is less than 0.5, or 1 and more. With less, most requests would be sent twice.
    pub fn percentile(share: f32) -> Result<Self, Error> {
        if !(0.5..1.0).contains(&share) {
            let why = format!("the percentile {share} is not from 0.5 to less than 1");
            return Err(Error::config("hedge", why));
        }
        Ok(Self(HedgeAfter::Percentile(share)))
    }
}

/// The delay of a cluster, learned from its requests if it is a percentile.
#[derive(Debug)]
pub(crate) struct HedgeDelay {
    hedge: Hedge,
    /// The percentile in seconds, as the bits of an `f32`.
    percentile: AtomicU32,
    /// How many requests it is learned from, up to [`ENOUGH`].
    seen: AtomicU32,
}

/// How many requests a percentile is learned from before it is used.
const ENOUGH: u32 = 20;

/// By how much one request moves the percentile, as a share of it.
///
/// With this, an estimate that is wrong by a factor of ten is right again after some hundreds of requests, and varies
/// by a few percent when the latency does not change.
const STEP: f32 = 0.05;

impl HedgeDelay {
    /// Returns the delay of a new cluster.
    pub(crate) fn new(hedge: Hedge) -> Self {
        Self {
            hedge,
            percentile: AtomicU32::new(0),
            seen: AtomicU32::new(0),
        }
    }

    /// Returns the delay, or `None` while it is not known.
    pub(crate) fn get(&self) -> Option<Duration> {
        match self.hedge.0 {
            HedgeAfter::Delay(delay) => Some(delay),
            HedgeAfter::Percentile(_) if self.seen.load(Relaxed) < ENOUGH => None,
            HedgeAfter::Percentile(_) => Some(Duration::from_secs_f32(self.percentile())),
        }
    }

    /// Learns from a request that was answered after `took`.
    ///
    /// Each answer moves the estimate a step up or down, so that it rests where the share of the slower ones is right:
    /// Ma, Muthukrishnan and Sandler, "Frugal Streaming for Estimating Quantiles" (2013), with steps in proportion to
    /// the estimate. Of two answers at the same moment, one may be lost.
    pub(crate) fn learn(&self, took: Duration) {
        let HedgeAfter::Percentile(share) = self.hedge.0 else {
            return;
        };
        // A microsecond, so that the estimate never becomes 0, from which no step leads away.
        let took = took.as_secs_f32().max(1e-6);
        let next = match (self.seen.load(Relaxed), self.percentile()) {
            (0, _) => took,
            (_, now) if took > now => now * (1.0 + STEP * share),
            (_, now) => now * (1.0 - STEP * (1.0 - share)),
        };
        self.percentile.store(next.to_bits(), Relaxed);
        if self.seen.load(Relaxed) < ENOUGH {
            self.seen.fetch_add(1, Relaxed);
        }
    }

    fn percentile(&self) -> f32 {
        f32::from_bits(self.percentile.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_learned() {
        let delay = HedgeDelay::new(Hedge::percentile(0.95).unwrap());
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(delay.get(), None);
        let mut learn = |most: f32| {
            for _ in 0..2_000 {
                delay.learn(Duration::from_secs_f32(most * rng.f32()));
            }
            delay.get().unwrap().as_secs_f32() / most
        };
        // Of times that are evenly distributed, 95 % are below 0.95 of the longest.
        for most in [1.0, 0.01, 1.0] {
            let share = learn(most);
            assert!((share - 0.95).abs() < 0.1, "{most}: {share}");
        }
    }

    #[test]
    fn settings_that_would_send_everything_twice_are_refused() {
        assert!(Hedge::after(Duration::ZERO).is_err());
        assert!(
            [0.0, 0.3, 1.0, 95.0, f32::NAN]
                .iter()
                .all(|share| Hedge::percentile(*share).is_err())
        );
    }
}
