//! The number of requests in flight at an endpoint, and how many of them are fresh.
//!
//! A request counts from the moment its endpoint is picked until the last byte of its response has left. Among those in
//! flight there may be long polls, slow transfers and tunnels, which stay for minutes and keep a server hardly busy. If
//! they counted like the others, one client with a few of them could move everybody's requests to other endpoints. So
//! the two kinds are counted apart, without a list of the requests: a counter is one atomic word, and a request is
//! identified by nothing but the time of its pick.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use super::siblings::Micros;

/// The bits of the count of one generation, up to a million requests. The total has the other 24 of the 64 bits.
const GENERATION: u32 = 20;
/// The greatest count of one generation. A generation with more stays at it, so that the excess counts as lasting.
const MAX_GENERATION: u64 = (1 << GENERATION) - 1;

/// The requests in flight at an endpoint, from their pick to their end.
///
/// A request that has been in flight for many times as long as usual is *lasting*: a long poll, a slow upload or
/// download, or a tunnel. It says little about how long the next request will take. The others are *fresh*.
///
/// Fresh requests are counted in two generations, by the time of their pick. A generation begins with the first pick at
/// which the one before is as old as a request may be without counting as lasting; the generation before that is then
/// no longer fresh. So a request counts as lasting at an age between one and three times the limit that the caller
/// gives.
///
/// Accesses are not synchronized with the change of a generation. A request that begins or ends at that very moment may
/// be counted in the wrong one until both are over; the total is always right, since it is changed in the same atomic
/// step as a generation.
#[derive(Debug, Default)]
pub(super) struct RequestCounter {
    /// The packed [`Generations`].
    counts: AtomicU64,
    /// When the current generation began, as [`Micros`].
    since: AtomicU64,
    /// When the previous generation began, as [`Micros`]; equal to `since` if there is none.
    before: AtomicU64,
}

/// How many requests of each kind are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestCounts {
    /// Those that were picked recently.
    pub(super) fresh: u64,
    /// All others.
    pub(super) lasting: u64,
}

/// The three counts of a [`RequestCounter`], unpacked.
#[derive(Clone, Copy)]
struct Generations {
    /// All requests in flight.
    total: u64,
    /// Those of the previous generation.
    previous: u64,
    /// Those of the current generation.
    current: u64,
}

impl RequestCounter {
    /// Returns the number of all requests in flight.
    ///
    /// Sequentially consistent, as [`begin`](Self::begin) and [`end`](Self::end) are: see `Load::drain`.
    pub(super) fn total(&self) -> u64 {
        Generations::unpack(self.counts.load(SeqCst)).total
    }

    /// Returns how many requests of each kind there are at `now`. Those picked less than `lasting` ago are fresh; an
    /// older one may be, too: see the type.
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

    /// Counts a request that is picked `now`, which begins another generation if the current one is `lasting` old.
    /// Returns false, and counts nothing, if there are `most` already.
    pub(super) fn begin(&self, now: Micros, lasting: Micros, most: u64) -> bool {
        let generations = self.generations(now, lasting);
        if generations > 0 {
            let since = self.since.swap(now, Relaxed);
            self.before
                .store(if generations == 1 { since } else { now }, Relaxed);
        }
        let begun = |counts: Generations| Generations {
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
        };
        let counted = |counts| {
            let counts = Generations::unpack(counts);
            (counts.total < most).then(|| begun(counts).pack())
        };
        self.counts.fetch_update(SeqCst, Relaxed, counted).is_ok()
    }

    /// Ends a request that was picked at `picked`, and returns whether none is left.
    ///
    /// Each [`begin`](Self::begin) must be followed by one `end` with the same time, which tells the generation.
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

    /// Returns how many generations of length `lasting` have passed since the current one began, or 2 if they are more.
    fn generations(&self, now: Micros, lasting: Micros) -> u64 {
        let (age, lasting) = (now.saturating_sub(self.since.load(Relaxed)), lasting.max(1));
        // Without a division, which takes tens of cycles: every cost asks for this.
        match age.checked_sub(lasting) {
            None => 0,
            Some(more) if more < lasting => 1,
            Some(_) => 2,
        }
    }

    /// Changes the counts in one atomic step, and returns them as they are afterwards.
    fn change(&self, change: impl Fn(Generations) -> Generations) -> Generations {
        let changed = |counts| Some(change(Generations::unpack(counts)).pack());
        match self.counts.fetch_update(SeqCst, Relaxed, changed) {
            // The closure always returns `Some`, so this is never an `Err`.
            Ok(before) | Err(before) => change(Generations::unpack(before)),
        }
    }
}

impl Generations {
    /// Reads a word: 24 bits of the total, then 20 for each generation.
    fn unpack(counts: u64) -> Self {
        Self {
            total: counts >> (2 * GENERATION),
            previous: counts >> GENERATION & MAX_GENERATION,
            current: counts & MAX_GENERATION,
        }
    }

    /// Returns the word. The counts of generations saturate.
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
        counter.begin(1_000, LASTING, 9);
        assert_eq!(counts(&counter, 1_099), (1, 0));
        assert_eq!(counts(&counter, 1_250), (0, 1), "without another request");
        counter.begin(1_300, LASTING, 9);
        assert_eq!(counts(&counter, 1_300), (1, 1));
        assert!(!counter.end(1_000));
        assert_eq!(counts(&counter, 1_300), (1, 0));
        assert!(counter.end(1_300));
    }

    #[test]
    fn the_generation_before_is_fresh_until_it_is_old() {
        let counter = RequestCounter::default();
        counter.begin(1_000, LASTING, 9);
        counter.begin(1_090, LASTING, 9);
        counter.begin(1_110, LASTING, 9);
        assert_eq!(counts(&counter, 1_150), (3, 0));
        assert!(!counter.end(1_090));
        assert_eq!(counts(&counter, 1_150), (2, 0));
        assert_eq!(counts(&counter, 1_210), (1, 1));
        counter.begin(1_220, LASTING, 9);
        assert_eq!(counts(&counter, 1_220), (2, 1));
        assert!(!counter.end(1_000));
        assert_eq!(counts(&counter, 1_220), (2, 0));
    }

    #[test]
    fn there_are_no_more_than_the_most() {
        let counter = RequestCounter::default();
        assert!(counter.begin(1_000, LASTING, 2));
        assert!(counter.begin(1_000, LASTING, 2));
        assert!(!counter.begin(1_000, LASTING, 2));
        assert_eq!(counter.total(), 2);
        counter.end(1_000);
        assert!(counter.begin(1_000, LASTING, 2));
    }
}
