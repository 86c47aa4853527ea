//! The requests that wait for an endpoint's answer, and whether it lives.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

use super::siblings::Micros;

/// Bits of the count of one generation.
const GENERATION: u32 = 32;
const MAX_GENERATION: u64 = (1 << GENERATION) - 1;

/// The chance that an endpoint stalls with a request, which is a guess.
const STALLS: f32 = 1e-4;

/// The least share that is taken for long polls, however few were seen: one late answer says little, two say more.
const LEAST_POLLS: f32 = 1e-3;

/// Seconds after which a silent endpoint is asked again in any case. Each time costs a request, if it has stalled.
const LONGEST: f32 = 10.0;

/// The requests that wait for an endpoint's answer, by which a stalled endpoint shows before any deadline passes.
///
/// nginx takes the age of the oldest unanswered request for it. One long poll then makes an endpoint that answers
/// thousands look stalled. So only those count that have not been overtaken: a request that was sent later and has been
/// answered proves that the endpoint lives. While there are any, what counts is how long the endpoint has been silent.
///
/// They are counted in two generations. When one of the current generation is answered, all of the previous one have
/// been overtaken; then the next request to be sent begins another generation. A request that is sent or answered in
/// the very moment when the generation changes may be counted in the wrong one, until that is overtaken.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    counts: AtomicU64,
    /// When the current generation began.
    since: AtomicU64,
    /// When the current generation began at the time of its first answer; all that were sent before are overtaken.
    overtaken: AtomicU64,
    /// When the endpoint last answered, or was first asked since.
    heard: AtomicU64,
    /// How many times it has been asked again since then, each time after a long silence.
    again: AtomicU32,
}

/// How it goes with those that wait and have not been overtaken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wait {
    pub(super) count: u64,
    /// Seconds since the last answer, or since the first of them was sent.
    pub(super) silence: f32,
    /// Seconds since the current generation began.
    pub(super) age: f32,
    /// How many times the endpoint has been asked again in this silence.
    pub(super) again: u32,
}

/// Why a request does not wait any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The endpoint answered.
    Answered,
    /// It was given up before an answer was to be expected.
    Early,
    /// It was given up when an answer was due. How long it would have waited is not known, so it goes on to count.
    Late,
}

/// What the end of a wait says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waited {
    /// Others that were sent later have been answered.
    pub(super) overtaken: bool,
    /// How many it overtook itself.
    pub(super) overtook: u64,
    /// How long the endpoint had been silent.
    pub(super) silence: Micros,
}

#[derive(Clone, Copy)]
struct Counts {
    previous: u64,
    current: u64,
}

impl Wait {
    /// Whether the endpoint should be given another request, to see whether it lives, where a share of `polls` of all
    /// requests is answered later than after `lasting` seconds.
    ///
    /// For each request that waits it is given that time. If it was asked again and was still silent, then either all of
    /// those were such late ones, or it has stalled: the less likely the first is beside the second, the longer it is
    /// left alone.
    pub(super) fn is_due(&self, lasting: f32, polls: f32) -> bool {
        let asked = i32::try_from(self.again)
            .unwrap_or(i32::MAX)
            .saturating_add(1);
        let chance = polls.max(LEAST_POLLS).powi(asked);
        let wait = lasting * self.count as f32 * (STALLS / chance).max(1.0);
        self.age >= wait.min(LONGEST).max(lasting)
    }
}

impl Outstanding {
    /// A request is sent now. Those that were sent more than `lasting` before it are of another generation.
    pub(super) fn sent(&self, now: Micros, lasting: Micros) {
        let old = now.saturating_sub(self.since.load(Relaxed)) >= lasting;
        let changes = |counts: Counts| old || counts.previous == 0;
        let before = self.change(|counts| match changes(counts) {
            true => Counts {
                previous: counts.previous + counts.current,
                current: 1,
            },
            false => Counts {
                current: counts.current + 1,
                ..counts
            },
        });
        if changes(before) {
            self.since.store(now, Relaxed);
        }
        if before.previous + before.current == 0 {
            self.heard.fetch_max(now, Relaxed);
            self.again.store(0, Relaxed);
        } else if old {
            self.again.fetch_add(1, Relaxed);
        }
    }

    /// The request that was sent at `sent` does not wait any more.
    pub(super) fn ended(&self, sent: Micros, now: Micros, end: End) -> Waited {
        let (since, overtaken) = (self.since.load(Relaxed), self.overtaken.load(Relaxed));
        let mut waited = Waited {
            overtaken: sent < overtaken,
            ..Waited::default()
        };
        let answered = end == End::Answered;
        if answered {
            waited.silence = now.saturating_sub(self.heard.fetch_max(now, Relaxed));
            self.again.store(0, Relaxed);
        }
        if waited.overtaken || end == End::Late {
            return waited;
        }
        let current = sent >= since;
        let before = self.change(|counts| match current {
            true => Counts {
                previous: if answered { 0 } else { counts.previous },
                current: counts.current.saturating_sub(1),
            },
            false => Counts {
                previous: counts.previous.saturating_sub(1),
                ..counts
            },
        });
        if current && answered {
            self.overtaken.fetch_max(since, Relaxed);
            waited.overtook = before.previous;
        }
        waited
    }

    /// `None` if all that wait have been overtaken.
    pub(super) fn wait(&self, now: Micros) -> Option<Wait> {
        let counts = Counts::unpack(self.counts.load(Relaxed));
        let count = counts.previous + counts.current;
        let seconds = |since: &AtomicU64| now.saturating_sub(since.load(Relaxed)) as f32 * 1e-6;
        (count > 0).then(|| Wait {
            count,
            silence: seconds(&self.heard),
            age: seconds(&self.since),
            again: self.again.load(Relaxed),
        })
    }

    /// Returns the counts before the change.
    fn change(&self, change: impl Fn(Counts) -> Counts) -> Counts {
        let changed = |counts| Some(change(Counts::unpack(counts)).pack());
        match self.counts.fetch_update(AcqRel, Relaxed, changed) {
            // There always is a change, so this cannot fail.
            Ok(before) | Err(before) => Counts::unpack(before),
        }
    }
}

impl Counts {
    fn unpack(counts: u64) -> Self {
        Self {
            previous: counts >> GENERATION,
            current: counts & MAX_GENERATION,
        }
    }

    fn pack(self) -> u64 {
        let [previous, current] = [self.previous, self.current].map(|n| n.min(MAX_GENERATION));
        previous << GENERATION | current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Micros = 1_000_000;
    const LASTING: Micros = 8 * S;

    fn silence(outstanding: &Outstanding, now: Micros) -> Option<(u64, f32)> {
        let wait = outstanding.wait(now)?;
        Some((wait.count, wait.silence))
    }

    #[test]
    fn silence_begins_with_the_first_that_waits_and_ends_with_each_answer() {
        let outstanding = Outstanding::default();
        assert_eq!(silence(&outstanding, 5 * S), None);
        outstanding.sent(10 * S, LASTING);
        outstanding.sent(12 * S, LASTING);
        assert_eq!(silence(&outstanding, 13 * S), Some((2, 3.0)));
        outstanding.ended(10 * S, 14 * S, End::Answered);
        assert_eq!(silence(&outstanding, 15 * S), Some((1, 1.0)));
        outstanding.ended(12 * S, 16 * S, End::Answered);
        assert_eq!(silence(&outstanding, 17 * S), None);
    }

    #[test]
    fn what_was_overtaken_does_not_count() {
        let outstanding = Outstanding::default();
        outstanding.sent(10 * S, LASTING);
        outstanding.sent(11 * S, LASTING);
        let waited = outstanding.ended(11 * S, 15 * S, End::Answered);
        assert_eq!(
            waited,
            Waited {
                overtaken: false,
                overtook: 1,
                silence: 5 * S
            }
        );
        assert_eq!(silence(&outstanding, 20 * S), None);
        assert!(outstanding.ended(10 * S, 60 * S, End::Answered).overtaken);
    }

    #[test]
    fn several_are_overtaken_by_one_that_was_sent_much_later() {
        let outstanding = Outstanding::default();
        for sent in [10, 11, 12] {
            outstanding.sent(sent * S, LASTING);
        }
        outstanding.sent(30 * S, LASTING);
        assert_eq!(silence(&outstanding, 31 * S), Some((4, 21.0)));
        let waited = outstanding.ended(30 * S, 31 * S, End::Answered);
        assert_eq!(waited.overtook, 3);
        assert_eq!(silence(&outstanding, 32 * S), None);
    }

    #[test]
    fn what_is_given_up_early_is_forgotten_and_what_is_given_up_late_is_not() {
        let outstanding = Outstanding::default();
        outstanding.sent(S, LASTING);
        outstanding.sent(2 * S, LASTING);
        outstanding.ended(S, 4 * S, End::Early);
        assert_eq!(silence(&outstanding, 5 * S), Some((1, 4.0)));
        outstanding.ended(2 * S, 5 * S, End::Late);
        assert_eq!(silence(&outstanding, 7 * S), Some((1, 6.0)));
        outstanding.sent(8 * S, LASTING);
        outstanding.ended(8 * S, 9 * S, End::Answered);
        assert_eq!(silence(&outstanding, 10 * S), None, "it lives");
    }

    fn waits(again: u32, age: f32) -> Wait {
        Wait {
            count: 1,
            silence: 100.0,
            age,
            again,
        }
    }

    #[test]
    fn an_endpoint_is_asked_again_after_a_while_and_then_much_later() {
        assert!(!waits(0, 0.05).is_due(0.08, 0.0));
        assert!(waits(0, 0.1).is_due(0.08, 0.0));
        assert!(!waits(1, 5.0).is_due(0.08, 0.0));
        assert!(waits(1, 10.0).is_due(0.08, 0.0));
        assert!(waits(1_000, 10.0).is_due(0.08, 0.0), "at last");
        assert!(!waits(0, 10.0).is_due(80.0, 0.0), "not before it is late");
    }

    #[test]
    fn where_long_polls_are_usual_silence_says_less() {
        assert!(waits(1, 0.1).is_due(0.08, 0.1));
        assert!(waits(3, 0.1).is_due(0.08, 0.1));
        assert!(!waits(5, 0.1).is_due(0.08, 0.1));
    }

    #[test]
    fn only_asking_after_a_long_silence_is_asking_again() {
        let outstanding = Outstanding::default();
        let again = |now| outstanding.wait(now).map(|wait| wait.again);
        for sent in [10, 10, 11] {
            outstanding.sent(sent * S, LASTING);
        }
        assert_eq!(again(12 * S), Some(0));
        outstanding.sent(30 * S, LASTING);
        assert_eq!(again(31 * S), Some(1));
        outstanding.ended(10 * S, 32 * S, End::Answered);
        assert_eq!(again(32 * S), Some(0));
    }
}
