//! The requests that wait for an endpoint's answer, by which a stall shows before any deadline passes.
//!
//! An endpoint that stops answering looks idle if only answers are measured, and attracts requests until the first
//! deadline. So its *silence* is measured: the time for which requests have been waiting without any answer. It is a
//! lower bound of the latency estimate.
//!
//! An endpoint that is silent while a request waits has either stalled, or is idle but for a long poll. Without other
//! requests, the two cannot be told apart. So it is given another request now and then ([`Wait::is_due`]): an answer
//! proves that it is alive, and ends the silence for all that were sent before. The price is one request each time if
//! it has stalled, 2.6 in the ten seconds of scenario S5 of `docs/BALANCING.md`; without this, a single long poll would
//! keep an endpoint without requests for as long as it takes.
//!
//! This file knows neither the outcome of a request nor its latency; [`Load`](super::load::Load) decides what follows.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

use super::siblings::Micros;

/// The bits of the count of one generation.
const GENERATION: u32 = 32;
/// The greatest count of one generation.
const MAX_GENERATION: u64 = (1 << GENERATION) - 1;

/// The probability that an endpoint stalls with a given request. A guess: it is compared with the share of long polls,
/// and only its order of magnitude matters.
const STALLS: f32 = 1e-4;

/// The least share of long polls that is assumed, however few were seen. One late answer is no sign of a stall; a
/// second one, to a request that was sent later, is.
const LEAST_POLLS: f32 = 1e-3;

/// The longest time, in seconds, after which a silent endpoint is given another request in any case. If it has stalled,
/// that request is lost.
const LONGEST: f32 = 10.0;

/// The requests that an endpoint has received whole and has not answered yet.
///
/// nginx measures the age of the oldest unanswered request instead (`least_time inflight`). One long poll then makes an
/// endpoint look stalled that answers thousands of others. So only the requests count here that have not been
/// *overtaken*: an answer to a request that was sent later proves that the endpoint is alive. While there are any, what
/// counts is how long the endpoint has been silent.
///
/// To compare the order of sending without a list of requests, they are counted in two generations by the time when
/// they were sent:
///
/// - A request that is sent joins the current generation. If there is no previous one, or if the current one is older
///   than a request usually takes, it begins another generation, and all others become the previous one.
/// - An answer to a request of the current generation proves that all of the previous one have been overtaken. Its
///   count is set to 0, and their ends are ignored.
/// - An answer to a request of the previous generation, or a client's departure, takes one off its count.
///
/// A request that is sent or answered at the very moment when the generation changes may be counted in the wrong one.
/// The error lasts until that generation is overtaken.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    /// The packed [`Counts`].
    counts: AtomicU64,
    /// When the current generation began.
    since: AtomicU64,
    /// All requests that were sent before this time have been overtaken: it is the beginning of the latest generation
    /// that had an answer.
    overtaken: AtomicU64,
    /// When the silence began: at the last answer or, if nothing was waiting then, at the next request.
    heard: AtomicU64,
    /// How many times the endpoint has been given another request during this silence, each time after a long wait.
    again: AtomicU32,
}

/// What can be said about the requests that wait and have not been overtaken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wait {
    /// How many they are. At least 1.
    pub(super) count: u64,
    /// Seconds since the last answer, or since the first of them was sent if that was later.
    pub(super) silence: f32,
    /// Seconds since the current generation began.
    pub(super) age: f32,
    /// How many times the endpoint has been given another request during this silence.
    pub(super) again: u32,
}

/// Why a request no longer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The endpoint answered.
    Answered,
    /// It was given up before an answer was to be expected, so nothing follows from the lack of one.
    Early,
    /// It was given up when an answer was due. It continues to count until it is overtaken: otherwise a stalled
    /// endpoint would look idle each time that a client loses patience, and would get the next request.
    Late,
}

/// What the end of a request's wait tells about the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waited {
    /// Whether a request that was sent later has been answered before.
    pub(super) overtaken: bool,
    /// How many requests this answer has overtaken.
    pub(super) overtook: u64,
    /// How long the endpoint had been silent before this answer. 0 if it is none.
    pub(super) silence: Micros,
}

/// The requests that wait and have not been overtaken, by generation.
#[derive(Clone, Copy)]
struct Counts {
    /// Those sent before the current generation began.
    previous: u64,
    /// Those sent since.
    current: u64,
}

impl Wait {
    /// Returns whether the endpoint has stalled, as good as certainly: it was given more requests after a long silence,
    /// the last of them is late as well, and a stall is ten times as likely as that all of them are long polls.
    ///
    /// `lasting` and `polls` are those of [`is_due`](Self::is_due).
    pub(super) fn is_stall(&self, lasting: f32, polls: f32) -> bool {
        self.again > 0 && self.age >= lasting && 10.0 * self.chance(polls) <= STALLS
    }

    /// Returns the probability that all requests by which the endpoint was tried are long polls.
    fn chance(&self, polls: f32) -> f32 {
        let asked = i32::try_from(self.again)
            .unwrap_or(i32::MAX)
            .saturating_add(1);
        polls.max(LEAST_POLLS).powi(asked)
    }

    /// Returns whether the endpoint should be given another request, to see whether it is alive.
    ///
    /// `lasting` is the time in seconds after which a request counts as lasting, and `polls` the share of requests in
    /// this cluster that are answered later than that.
    ///
    /// The first time, it is due after `lasting` for each request that waits. If it was given `again` more requests and
    /// is still silent, then either `again + 1` requests were all long polls, with a probability of `polls ^ (again +
    /// 1)`, or the endpoint has stalled, with that of [`STALLS`]. The wait is multiplied by the ratio of the second to
    /// the first, up to [`LONGEST`]. So it stays short where long polls are common, and grows fast where they are not.
    pub(super) fn is_due(&self, lasting: f32, polls: f32) -> bool {
        let wait = lasting * self.count as f32 * (STALLS / self.chance(polls)).max(1.0);
        self.age >= wait.min(LONGEST).max(lasting)
    }
}

impl Outstanding {
    /// Counts a request that the endpoint has received whole at `now`. It begins another generation if the current one
    /// is `lasting` old. Returns whether the endpoint is tried again with it, after a long silence.
    pub(super) fn sent(&self, now: Micros, lasting: Micros) -> bool {
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
            // Nothing was waiting: a silence begins.
            self.heard.fetch_max(now, Relaxed);
            self.again.store(0, Relaxed);
        } else if old {
            self.again.fetch_add(1, Relaxed);
            return true;
        }
        false
    }

    /// Ends the wait of the request that was counted as sent at `sent`.
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

    /// Returns what can be said about the requests that wait, or `None` if all of them have been overtaken.
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

    /// Changes the counts in one atomic step, and returns them as they were before.
    fn change(&self, change: impl Fn(Counts) -> Counts) -> Counts {
        let changed = |counts| Some(change(Counts::unpack(counts)).pack());
        match self.counts.fetch_update(AcqRel, Relaxed, changed) {
            // The closure always returns `Some`, so this is never an `Err`.
            Ok(before) | Err(before) => Counts::unpack(before),
        }
    }
}

impl Counts {
    /// Reads a word: 32 bits for each generation.
    fn unpack(counts: u64) -> Self {
        Self {
            previous: counts >> GENERATION,
            current: counts & MAX_GENERATION,
        }
    }

    /// Returns the word. Counts saturate.
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
