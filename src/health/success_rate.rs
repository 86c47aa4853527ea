//! The success rate of an endpoint over the last ten seconds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::clock::Micros;

/// The number of buckets, of a second each.
const BUCKETS: usize = 10;

/// How many attempts a bucket counts at most. What comes beyond, within the same second, is not counted: the share is
/// known well enough by then.
const MOST: u64 = 0xffff;

/// Counts the attempts at an endpoint that have ended, by second and by success.
///
/// A bucket is one atomic word: the second that it is of (32 bits), its failures and all its attempts (16 bits each).
/// So an attempt is counted by one atomic step, and a bucket of ten seconds ago is recognised and begun anew in the
/// same.
#[derive(Debug, Default)]
pub(super) struct SuccessRate([AtomicU64; BUCKETS]);

/// How many attempts have ended within the last ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) attempts: u32,
    pub(crate) failures: u32,
}

impl Rate {
    /// Returns the share of successes, from 0 to 1; 1 without any attempt.
    pub(crate) fn share(self) -> f32 {
        match self.attempts {
            0 => 1.0,
            attempts => 1.0 - self.failures as f32 / attempts as f32,
        }
    }
}

impl SuccessRate {
    /// Counts an attempt that ended at `now`.
    pub(super) fn add(&self, now: Micros, failed: bool) {
        let second = second(now);
        let bucket = &self.0[second as usize % BUCKETS];
        // An update that fails is one of a bucket that is full.
        let _ = bucket.fetch_update(Relaxed, Relaxed, |word| {
            let counts = if word >> 32 == second {
                word
            } else {
                second << 32
            };
            (counts & MOST < MOST).then(|| counts + 1 + (u64::from(failed) << 16))
        });
    }

    /// Returns the attempts that ended in the ten seconds before `now`.
    pub(super) fn get(&self, now: Micros) -> Rate {
        let now = second(now);
        let words = self.0.iter().map(|bucket| bucket.load(Relaxed));
        let recent = words.filter(|word| now.wrapping_sub(word >> 32) < BUCKETS as u64);
        recent.fold(Rate::default(), |rate, word| Rate {
            attempts: rate.attempts + (word & MOST) as u32,
            failures: rate.failures + (word >> 16 & MOST) as u32,
        })
    }
}

/// Returns the second of a time, of which 32 bits are enough for 136 years. The first one is 1, so that an empty bucket
/// is none of it.
fn second(now: Micros) -> u64 {
    now / 1_000_000 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Micros = 1_000_000;

    #[test]
    fn attempts_count_for_ten_seconds() {
        let rate = SuccessRate::default();
        assert_eq!(rate.get(0), Rate::default());
        for now in 0..20 {
            rate.add(now * S, now % 2 == 0);
        }
        let (attempts, failures) = (10, 5);
        assert_eq!(rate.get(19 * S), Rate { attempts, failures });
        assert_eq!(rate.get(19 * S).share(), 0.5);
        assert_eq!(rate.get(24 * S).attempts, 5);
        assert_eq!(rate.get(40 * S), Rate::default());
    }

    #[test]
    fn a_full_bucket_keeps_its_share() {
        let rate = SuccessRate::default();
        for nth in 0..200_000 {
            rate.add(S, nth % 4 == 0);
        }
        let rate = rate.get(S);
        assert_eq!(u64::from(rate.attempts), MOST);
        assert!((rate.share() - 0.75).abs() < 0.001);
    }
}
