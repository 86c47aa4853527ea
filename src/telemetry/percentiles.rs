//! Recent latencies of an endpoint, in buckets.

use std::{
    array,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::clock::Micros;

/// The length of a window. A value counts for one to two of them.
const WINDOW: Micros = 10_000_000;

/// The power of two, in microseconds, at which the first bucket ends: 16 µs.
const FIRST: u32 = 4;

/// The number of buckets per power of two, as a power of two. A bucket is a quarter wider than the one before, so a
/// percentile is off by an eighth at most.
const SUB: u32 = 2;

/// The number of buckets: up to 134 s. What takes longer is in the last one.
const BUCKETS: usize = ((27 - FIRST) << SUB) as usize;

/// Counts latencies of the last ten to twenty seconds by bucket.
///
/// Two windows take turns, and the one whose turn begins is emptied first. A value that is added at the same moment may
/// be lost, or counted in the wrong window.
#[derive(Debug)]
pub(super) struct RecentLatencies([Window; 2]);

#[derive(Debug)]
struct Window {
    /// The number of the window of time that it has the values of.
    number: AtomicU64,
    counts: [AtomicU32; BUCKETS],
}

impl Default for RecentLatencies {
    fn default() -> Self {
        Self(array::from_fn(|_| Window {
            number: AtomicU64::new(0),
            counts: array::from_fn(|_| AtomicU32::new(0)),
        }))
    }
}

impl RecentLatencies {
    /// Adds a latency that was measured at `now`.
    pub(super) fn add(&self, now: Micros, latency: Micros) {
        let number = now / WINDOW + 1;
        let window = &self.0[(number % 2) as usize];
        let before = window.number.load(Relaxed);
        if before != number
            && window
                .number
                .compare_exchange(before, number, Relaxed, Relaxed)
                .is_ok()
        {
            window
                .counts
                .iter()
                .for_each(|count| count.store(0, Relaxed));
        }
        window.counts[bucket(latency)].fetch_add(1, Relaxed);
    }

    /// Returns the latencies below which these shares of the recent ones are, or `None` if there are none.
    pub(super) fn get<const N: usize>(
        &self,
        now: Micros,
        shares: [f64; N],
    ) -> Option<[Duration; N]> {
        let number = now / WINDOW + 1;
        let recent = || {
            let windows = self.0.iter();
            windows.filter(|window| window.number.load(Relaxed) + 1 >= number)
        };
        let counts: [u64; BUCKETS] = array::from_fn(|nth| {
            let counts = recent().map(|window| u64::from(window.counts[nth].load(Relaxed)));
            counts.sum()
        });
        let total: u64 = counts.iter().sum();
        (total > 0).then(|| shares.map(|share| quantile(&counts, total as f64 * share)))
    }
}

/// Returns the bucket of a latency.
fn bucket(latency: Micros) -> usize {
    let latency = latency.max(1 << FIRST);
    let power = latency.ilog2();
    let sub = (latency >> (power - SUB)) & ((1 << SUB) - 1);
    ((u64::from(power - FIRST) << SUB | sub) as usize).min(BUCKETS - 1)
}

/// Returns where a bucket begins, in microseconds.
fn start(bucket: usize) -> f64 {
    let (power, sub) = (bucket >> SUB, bucket & ((1 << SUB) - 1));
    f64::from(1 << FIRST) * f64::from(1 << power) * (1.0 + sub as f64 / f64::from(1 << SUB))
}

/// Returns the latency that so many of the values are below, by interpolation within its bucket.
fn quantile(counts: &[u64; BUCKETS], below: f64) -> Duration {
    let mut before = 0.0;
    for (nth, count) in counts.iter().map(|count| *count as f64).enumerate() {
        if count > 0.0 && before + count >= below {
            let within = ((below - before) / count).clamp(0.0, 1.0);
            let micros = start(nth) + within * (start(nth + 1) - start(nth));
            return Duration::from_secs_f64(micros * 1e-6);
        }
        before += count;
    }
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other() {
        let mut last = 0;
        for latency in 0..3_000_000 {
            let bucket = bucket(latency);
            assert!(bucket == last || bucket == last + 1, "{latency}");
            assert!(latency < 16 || (start(bucket)..start(bucket + 1)).contains(&(latency as f64)));
            last = bucket;
        }
        assert_eq!(super::bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_of_the_last_windows() {
        let latencies = RecentLatencies::default();
        assert_eq!(latencies.get(0, [0.5]), None);
        for latency in 1..=1_000 {
            latencies.add(0, latency * 100);
        }
        let [p50, p99] = latencies.get(0, [0.5, 0.99]).unwrap();
        let off = |value: Duration, right: f64| (value.as_secs_f64() / right - 1.0).abs();
        assert!(
            off(p50, 0.05) < 0.125 && off(p99, 0.099) < 0.125,
            "{p50:?} {p99:?}"
        );
        assert!(latencies.get(WINDOW, [0.5]).is_some());
        assert_eq!(latencies.get(2 * WINDOW, [0.5]), None);
        latencies.add(2 * WINDOW, 1_000);
        let [p99] = latencies.get(2 * WINDOW, [0.99]).unwrap();
        assert!(off(p99, 0.001) < 0.25, "{p99:?}");
    }
}
