//! The latency estimate of an endpoint: how long it will take to answer the next request.
//!
//! Latency is the time from the moment when the endpoint has received the whole request to the response head. The
//! estimate is relative to the median of the cluster, so it has no unit:
//!
//! ```text
//! seen     = (mean × weight + median × prior) / (weight + prior)
//! ratio    = (max(seen, silence) + 1 ms) / (median + 1 ms)
//! estimate = ratio × (1 + 100 × failed / (weight + failed + 1))
//! ```
//!
//! - `mean` is that of the successful answers, each of which loses weight by a factor of e in two seconds; `weight` is
//!   the sum of their weights, and `failed` that of the failures.
//! - `median` is that of the endpoints of the cluster, and `prior` its weight; [`norms`](super::norms) says how much
//!   that is, and why. The older the answers, the more the median counts. So an endpoint that has had no requests for a
//!   while is taken to be like the others, gets requests again, and shows what it is now.
//! - `silence` is the time for which requests have been waiting without any answer; see
//!   [`outstanding`](super::outstanding).
//!
//! tower's `PeakEwma` differs in ways that each lose requests (`docs/BALANCING.md` has the figures):
//!
//! | | here | `PeakEwma` |
//! |---|---|---|
//! | without requests | approaches the median | decays to 0, or stays high |
//! | when it is read | does not change | decays (linkerd2-proxy#4537) |
//! | one slow answer | counts as four times the usual latency at most | is the estimate |
//! | a failure | multiplies the estimate | is a fast answer |
//! | a stall | raises the estimate while it lasts | decays while it lasts |
//! | a new endpoint | starts at the median | starts at a constant |

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::{decay::decay, norms::Norms, outstanding::Wait, siblings::Micros};

/// The least weight, in answers, with which a mean contributes to the cluster's median: that of one answer 2.8 s ago.
const RECENT: f32 = 0.25;

/// The most that one answer counts for, as a multiple of the usual latency. A single outlier moves the estimate a
/// little; several in a row raise the usual latency, and with it the limit, until they count in full.
const OUTLIER: f32 = 4.0;

/// By how much the estimate is multiplied, at most, if all answers are failures. A failure costs time, since the client
/// has to send the request again; and an endpoint that fails at once must not look fast, and so attract the requests of
/// a whole cluster. It keeps getting a few, by which it shows that it works again.
const FAILURE: f32 = 100.0;

/// The factor within which the estimates of idle endpoints equal the median, so that endpoints that differ by chance
/// alone take turns.
const ALIKE: f32 = 1.1;

/// The same in a cluster of unlike weights, where a light endpoint has few answers, and chance must not decide against
/// the turns by which shares are exact. With [`ALIKE`], weights of 10 and 1 were off by 1.1 percentage points in S23.
const ALIKE_UNEVEN: f32 = 1.2;

/// The least weight, in answers and failures, with which an idle endpoint is compared with others by its estimate. With
/// less it takes its turn: otherwise an endpoint without requests would stay without them beside a fast one. With 1.5
/// instead, scenario S11 with 100 clients was seven times slower.
const KNOWN: f32 = 0.1;

/// A latency in seconds that is added to both sides of a comparison, so that smaller differences hardly count: below a
/// millisecond, they are made by this machine's scheduler and not by the endpoint.
const NOISE: f32 = 1e-3;

/// The answers of one endpoint, averaged.
///
/// It outlives the endpoint's removal, so that an endpoint that comes back is known; all endpoints of one name that a
/// cluster remembers share it.
///
/// The fields are written one after the other, without a lock. Of two answers at the same moment, one may be lost, and
/// a read in between may combine a new mean with an old weight: an estimate can bear that. A mean and its weight are in
/// one word, so that they always belong together.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// The mean of the successful answers, in seconds, and their weight as of `at`.
    seen: AtomicU64,
    /// The weight of the failures and that of the long polls, as of `at`.
    others: AtomicU64,
    /// The mean of the squares of the successful answers, as the bits of an `f32`.
    square: AtomicU32,
    /// The time of the last write. Reading does not change it: weights are decayed from here each time.
    at: AtomicU64,
}

/// The averages, with their weights decayed to one moment.
#[derive(Clone, Copy)]
struct Evidence {
    /// The mean of the successful answers, in seconds.
    mean: f32,
    /// The weight of the successful answers.
    weight: f32,
    /// The weight of the failures.
    failed: f32,
    /// The weight of the long polls.
    polls: f32,
}

/// What a survey of the cluster learns from one endpoint: its recent answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Their mean, in seconds.
    pub(super) mean: f32,
    /// Their variance, in seconds squared.
    pub(super) variance: f32,
    /// Their number, of which older ones count less.
    pub(super) weight: f32,
    /// The number of requests during which the endpoint seemed to have stalled, and had not, decayed likewise.
    pub(super) polls: f32,
}

/// The expected latency of the next answer, as a multiple of the cluster's median.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    /// The estimate itself.
    pub(super) exact: f32,
    /// The estimate without differences that may be chance.
    pub(super) about: f32,
    /// Whether enough is known for idle endpoints to be compared by `about`.
    pub(super) known: bool,
}

impl Sample {
    /// Returns whether there are enough answers for their mean to say what the latency is now.
    pub(super) fn is_recent(&self) -> bool {
        self.weight >= RECENT
    }
}

impl Latency {
    /// Returns the averages as of `now`.
    fn evidence(&self, now: Micros) -> Evidence {
        let decay = decay(now.saturating_sub(self.at.load(Relaxed)));
        let [mean, weight] = unpack(self.seen.load(Relaxed));
        let [failed, polls] = unpack(self.others.load(Relaxed));
        Evidence {
            mean,
            weight: weight * decay,
            failed: failed * decay,
            polls: polls * decay,
        }
    }

    /// Stores the averages as of `now`.
    fn store(&self, now: Micros, evidence: Evidence) {
        let Evidence {
            mean,
            weight,
            failed,
            polls,
        } = evidence;
        self.seen.store(pack([mean, weight]), Relaxed);
        self.others.store(pack([failed, polls]), Relaxed);
        self.at.store(now, Relaxed);
    }

    /// Returns the recent answers.
    pub(super) fn sample(&self, now: Micros) -> Sample {
        let evidence = self.evidence(now);
        let square = f32::from_bits(self.square.load(Relaxed));
        Sample {
            mean: evidence.mean,
            variance: (square - evidence.mean * evidence.mean).max(0.0),
            weight: evidence.weight,
            polls: evidence.polls,
        }
    }

    /// Returns how long an answer may take without being out of the ordinary, in seconds: the mean of the endpoint or
    /// the `median` of the cluster, whichever is longer.
    ///
    /// What counts as lasting, and as a late end, is a multiple of this. The mean does not lose weight here, so that a
    /// slow endpoint does not seem to stall once it has had no requests for a while.
    pub(super) fn usual(&self, median: f32) -> f32 {
        let [mean, _] = unpack(self.seen.load(Relaxed));
        mean.max(median) + NOISE
    }

    /// Returns the estimate for the next answer, by the formula at the top of this file.
    ///
    /// `wait` is what can be said about the requests that wait, or `None` if that should not count; `in_flight` is the
    /// number of all requests at the endpoint; `uneven` is whether the weights of the cluster differ.
    pub(super) fn estimate(
        &self,
        now: Micros,
        norms: &Norms,
        wait: Option<Wait>,
        in_flight: u64,
        uneven: bool,
    ) -> Estimate {
        let Evidence {
            mean,
            weight,
            failed,
            ..
        } = self.evidence(now);
        let &Norms { median, prior, .. } = norms;
        let seen = (mean * weight + median * prior) / (weight + prior);
        let floor = wait.map_or(0.0, |wait| match in_flight as f32 > weight {
            // More requests wait than were answered of late, as in the first moments of a process. The answers so far
            // are the fast ones, and would make a slow endpoint look fast, so the age of the others counts as well.
            true => wait.silence.max(wait.age),
            _ => wait.silence,
        });
        let ratio = (seen.max(floor) + NOISE) / (median + NOISE);
        let failures = 1.0 + FAILURE * failed / (weight + failed + 1.0);
        Estimate {
            exact: ratio * failures,
            about: about(ratio, if uneven { ALIKE_UNEVEN } else { ALIKE }) * failures,
            known: weight + failed >= KNOWN,
        }
    }

    /// Records a successful answer that took `latency` seconds, at most [`OUTLIER`] times the usual.
    pub(super) fn succeeded(&self, now: Micros, latency: f32, median: Option<f32>) {
        let mut evidence = self.evidence(now);
        let usual = match evidence.weight > 0.0 {
            true => Some(evidence.mean.max(median.unwrap_or(0.0))),
            false => median,
        };
        // Never 0, which in the norms stands for a median that is not known.
        let latency = latency
            .min(usual.map_or(f32::MAX, |usual| usual * OUTLIER))
            .max(1e-6);
        let square = f32::from_bits(self.square.load(Relaxed));
        let mean =
            |before: f32, value: f32| (before * evidence.weight + value) / (evidence.weight + 1.0);
        let square = mean(square, latency * latency);
        evidence.mean = mean(evidence.mean, latency);
        evidence.weight += 1.0;
        self.square.store(square.to_bits(), Relaxed);
        self.store(now, evidence);
    }

    /// Records that the endpoint seemed to have stalled with so many requests, and has answered another one: they are
    /// long polls, as far as can be told.
    pub(super) fn polled(&self, now: Micros, requests: u64) {
        let mut evidence = self.evidence(now);
        evidence.polls += requests as f32;
        self.store(now, evidence);
    }

    /// Records a failure. However fast it was, it says nothing about how long a successful answer takes.
    pub(super) fn failed(&self, now: Micros) {
        let mut evidence = self.evidence(now);
        evidence.failed += 1.0;
        self.store(now, evidence);
    }

    /// Forgets the failures.
    pub(super) fn forgive(&self, now: Micros) {
        let evidence = Evidence {
            failed: 0.0,
            ..self.evidence(now)
        };
        self.store(now, evidence);
    }
}

/// Returns `ratio` moved toward 1 by the factor `alike`, and 1 if it is that near. There is no jump at the limit, so
/// endpoints just outside of it still compare as nearly equal.
fn about(ratio: f32, alike: f32) -> f32 {
    match ratio {
        _ if ratio < 1.0 / alike => ratio * alike,
        _ if ratio > alike => ratio / alike,
        _ => 1.0,
    }
}

/// Packs two numbers into one word, so that they are read and written together.
fn pack([a, b]: [f32; 2]) -> u64 {
    u64::from(a.to_bits()) << 32 | u64::from(b.to_bits())
}

/// Reverses [`pack`].
fn unpack(both: u64) -> [f32; 2] {
    [(both >> 32) as u32, both as u32].map(f32::from_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Micros = 1_000_000;
    const MEDIAN: f32 = 0.01;
    const NORMS: Norms = Norms {
        median: MEDIAN,
        prior: 1.0,
        polls: 0.0,
        lasting: 0.0,
    };

    fn estimate(latency: &Latency, now: Micros) -> f32 {
        latency.estimate(now, &NORMS, None, 0, false).exact
    }

    fn after(answers: impl IntoIterator<Item = f32>) -> Latency {
        let latency = Latency::default();
        answers
            .into_iter()
            .for_each(|answer| latency.succeeded(0, answer, Some(MEDIAN)));
        latency
    }

    #[test]
    fn who_is_not_known_is_like_the_others() {
        assert_eq!(estimate(&Latency::default(), 0), 1.0);
    }

    #[test]
    fn it_decays_toward_the_median_and_not_by_being_read() {
        for answer in [0.1, 0.001] {
            let latency = after([answer; 100]);
            let at_once = estimate(&latency, 0);
            assert!((at_once - 1.0).abs() > 0.5, "{at_once}");
            for _ in 0..1_000 {
                assert_eq!(estimate(&latency, 0), at_once);
            }
            let later = [2, 5, 10, 20].map(|seconds| (estimate(&latency, seconds * S) - 1.0).abs());
            assert!(
                later.is_sorted_by(|a, b| a > b) && later[3] < 0.1,
                "{later:?}"
            );
        }
    }

    /// S21.
    #[test]
    fn one_spike_is_no_exile_and_several_are_believed() {
        let latency = after([0.01; 20]);
        latency.succeeded(0, 2.0, Some(MEDIAN));
        assert!(estimate(&latency, 0) < 1.2, "{}", estimate(&latency, 0));
        (0..20).for_each(|_| latency.succeeded(0, 2.0, Some(MEDIAN)));
        assert!(estimate(&latency, 0) > 5.0, "{}", estimate(&latency, 0));
    }

    #[test]
    fn a_failure_never_makes_it_look_faster() {
        let latency = after([0.01; 20]);
        let before = estimate(&latency, 0);
        latency.failed(0);
        assert!(estimate(&latency, 0) > 2.0 * before);
        assert!(estimate(&latency, 15 * S) < 1.1, "and is forgotten");
    }

    /// S5.
    #[test]
    fn silence_is_a_floor() {
        let latency = after([0.01; 20]);
        let wait = Wait {
            count: 1,
            silence: 1.0,
            age: 1.0,
            again: 0,
        };
        assert!(latency.estimate(0, &NORMS, Some(wait), 1, false).exact > 50.0);
        let long_poll = Wait {
            count: 1,
            silence: 0.005,
            age: 10.0,
            again: 0,
        };
        assert_eq!(
            latency.estimate(0, &NORMS, Some(long_poll), 1, false).exact,
            estimate(&latency, 0)
        );
    }

    #[test]
    fn the_age_counts_where_little_was_answered() {
        let latency = after([0.001; 3]);
        let wait = Wait {
            count: 50,
            silence: 0.001,
            age: 0.1,
            again: 0,
        };
        assert!(latency.estimate(0, &NORMS, Some(wait), 50, false).exact > 5.0);
    }
}
