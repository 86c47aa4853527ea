//! The requests in flight at an endpoint, and how many of them are fresh.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use super::siblings::Micros;

/// Bits of the count of one generation. What is left of 64 is for the total.
const GENERATION: u32 = 20;
const MAX_GENERATION: u64 = (1 << GENERATION) - 1;

/// The requests in flight at an endpoint, from their pick to their end.
///
/// One that has been in flight for many times as long as is usual lasts: it is a long poll, a slow upload or download,
/// or a tunnel, and says little about how long the next request will take. The others are fresh.
///
/// Fresh ones are counted in two generations, by the time of their pick. A generation is as long as a request may take
/// before it counts as lasting. A request that begins or ends in the very moment when the generation changes may be
/// counted in the wrong one until that is over; the total is always right.
#[derive(Debug, Default)]
pub(super) struct RequestCounter {
    counts: AtomicU64,
    /// When the current generation began.
    since: AtomicU64,
    /// When the previous generation began.
    before: AtomicU64,
}

/// How many requests are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestCounts {
    pub(super) fresh: u64,
    pub(super) lasting: u64,
}

#[derive(Clone, Copy)]
struct Generations {
    total: u64,
    previous: u64,
    current: u64,
}

impl RequestCounter {
    pub(super) fn total(&self) -> u64 {
        Generations::unpack(self.counts.load(SeqCst)).total
    }

    /// How many there are, where those are fresh that were picked less than about `lasting` ago.
    pub(super) fn counts(&self, now: Micros, lasting: Micros) -> RequestCounts {
        let counts = Generations::unpack(self.counts.load(Relaxed));
        let fresh = match self.generations(now, lasting) {
            0 => counts.current + counts.previous,
            1 => counts.current,
            _ => 0,
        };
        let fresh = fresh.min(counts.total);
        RequestCounts {
            fresh,
            lasting: counts.total - fresh,
        }
    }

    /// Counts a request that is picked now.
    pub(super) fn begin(&self, now: Micros, lasting: Micros) {
        let generations = self.generations(now, lasting);
        if generations > 0 {
            let since = self.since.swap(now, Relaxed);
            self.before
                .store(if generations == 1 { since } else { now }, Relaxed);
        }
        self.change(|counts| Generations {
            total: counts.total + 1,
            previous: match generations {
                0 => counts.previous,
                1 => counts.current,
                _ => 0,
            },
            current: match generations {
                0 => counts.current + 1,
                _ => 1,
            },
        });
    }

    /// The request that was picked at `picked` is over. Returns whether none is left.
    pub(super) fn end(&self, picked: Micros) -> bool {
        let (since, before) = (self.since.load(Relaxed), self.before.load(Relaxed));
        let (current, previous) = (picked >= since, (before..since).contains(&picked));
        let counts = self.change(|counts| Generations {
            total: counts.total.saturating_sub(1),
            previous: counts.previous.saturating_sub(previous.into()),
            current: counts.current.saturating_sub(current.into()),
        });
        counts.total == 0
    }

    /// How many generations have passed since the current one began.
    fn generations(&self, now: Micros, lasting: Micros) -> u64 {
        now.saturating_sub(self.since.load(Relaxed)) / lasting.max(1)
    }

    /// Returns the counts after the change.
    fn change(&self, change: impl Fn(Generations) -> Generations) -> Generations {
        let changed = |counts| Some(change(Generations::unpack(counts)).pack());
        match self.counts.fetch_update(SeqCst, Relaxed, changed) {
            // There always is a change, so this cannot fail.
            Ok(before) | Err(before) => change(Generations::unpack(before)),
        }
    }
}

impl Generations {
    fn unpack(counts: u64) -> Self {
        Self {
            total: counts >> (2 * GENERATION),
            previous: counts >> GENERATION & MAX_GENERATION,
            current: counts & MAX_GENERATION,
        }
    }

    fn pack(self) -> u64 {
        let [previous, current] = [self.previous, self.current].map(|n| n.min(MAX_GENERATION));
        self.total << (2 * GENERATION) | previous << GENERATION | current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTING: Micros = 100;

    fn counts(counter: &RequestCounter, now: Micros) -> (u64, u64) {
        let RequestCounts { fresh, lasting } = counter.counts(now, LASTING);
        (fresh, lasting)
    }

    #[test]
    fn a_request_that_lasts_is_not_fresh() {
        let counter = RequestCounter::default();
        counter.begin(1_000, LASTING);
        assert_eq!(counts(&counter, 1_099), (1, 0));
        assert_eq!(counts(&counter, 1_250), (0, 1), "without another request");
        counter.begin(1_300, LASTING);
        assert_eq!(counts(&counter, 1_300), (1, 1));
        assert!(!counter.end(1_000));
        assert_eq!(counts(&counter, 1_300), (1, 0));
        assert!(counter.end(1_300));
    }

    #[test]
    fn the_generation_before_is_fresh_until_it_is_old() {
        let counter = RequestCounter::default();
        counter.begin(1_000, LASTING);
        counter.begin(1_090, LASTING);
        counter.begin(1_110, LASTING);
        assert_eq!(counts(&counter, 1_150), (3, 0));
        assert!(!counter.end(1_090));
        assert_eq!(counts(&counter, 1_150), (2, 0));
        assert_eq!(counts(&counter, 1_210), (1, 1));
        counter.begin(1_220, LASTING);
        assert_eq!(counts(&counter, 1_220), (2, 1));
        assert!(!counter.end(1_000));
        assert_eq!(counts(&counter, 1_220), (2, 0));
    }
}
