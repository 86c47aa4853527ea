//! How long an endpoint takes to answer, as far as one can tell.
//!
//! An estimate is a mean of what was seen, weighed against what its peers take. What was seen counts less the older it
//! is, so an endpoint nobody has asked for a while is taken to be like the others, is asked again, and shows what it
//! is now. tower's `PeakEwma` differs in four ways, each of which loses requests: it decays toward zero and by being
//! read, it takes an error for a fast answer, one slow answer rules an endpoint out for a minute, and a new endpoint
//! starts at a constant (`docs/BALANCING.md` has the figures).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::{norms::Norms, outstanding::Wait, siblings::Micros};

/// How fast what was seen loses weight, in seconds: by a factor of e.
const DECAY: f32 = 2.0;

/// How many answers' weight it takes to be taken for an endpoint's latency.
const RECENT: f32 = 0.25;

/// The most an answer counts for, as a multiple of the estimate. One answer out of line moves the estimate a little; a
/// few in a row, by as much as they say.
const OUTLIER: f32 = 4.0;

/// How much longer an endpoint would take if all its answers were failures. A failure is as bad as a wait: whoever
/// asked has to ask again.
const FAILURE: f32 = 100.0;

/// Between idle endpoints, estimates within this factor of the median are the same: what differs by chance alone should
/// take turns.
const ALIKE: f32 = 1.1;

/// How many answers' weight it takes to tell an idle endpoint from another. With less it takes its turn: else one that
/// was never asked would stay so beside one that is fast. With 1.5 here, S11 with 100 clients was
/// seven times slower.
const KNOWN: f32 = 0.1;

/// Less than this, in seconds, is the scheduler's doing and not the endpoint's: it is added to what is compared.
const NOISE: f32 = 1e-3;

/// The answers of one endpoint. It outlives the endpoint's removal, so that one that comes back is known.
///
/// The fields are written one after the other. Two answers in the same instant may lose one of them: an estimate can
/// bear that, and needs no lock.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// Mean in seconds of what succeeded, and its weight.
    seen: AtomicU64,
    /// The weights of what failed, and of the polls.
    others: AtomicU64,
    /// The mean of the squares of what succeeded.
    square: AtomicU32,
    /// When the weights were true.
    at: AtomicU64,
}

/// What is known at one moment.
#[derive(Clone, Copy)]
struct Evidence {
    mean: f32,
    weight: f32,
    failed: f32,
    polls: f32,
}

/// The answers of late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Their mean, in seconds.
    pub(super) mean: f32,
    pub(super) variance: f32,
    /// How many they are, where older ones count less.
    pub(super) weight: f32,
    /// How many requests there were for which the endpoint seemed to have stalled, and had not.
    pub(super) polls: f32,
}

/// How long the next answer takes, as a multiple of what peers take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    pub(super) exact: f32,
    /// The same without what may be chance; none if too little is known.
    pub(super) about: Option<f32>,
}

impl Sample {
    pub(super) fn is_recent(&self) -> bool {
        self.weight >= RECENT
    }
}

impl Latency {
    fn evidence(&self, now: Micros) -> Evidence {
        let age = now.saturating_sub(self.at.load(Relaxed)) as f32 * 1e-6;
        let decay = (-age / DECAY).exp();
        let [mean, weight] = unpack(self.seen.load(Relaxed));
        let [failed, polls] = unpack(self.others.load(Relaxed));
        Evidence {
            mean,
            weight: weight * decay,
            failed: failed * decay,
            polls: polls * decay,
        }
    }

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

    /// The answers of late.
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

    /// How long an answer takes, in seconds, when it takes long and is nothing out of the ordinary.
    pub(super) fn usual(&self, median: f32) -> f32 {
        let [mean, _] = unpack(self.seen.load(Relaxed));
        mean.max(median) + NOISE
    }

    /// What the next answer takes, where `wait` is how it goes with those that wait now. Failures are time, too.
    pub(super) fn estimate(
        &self,
        now: Micros,
        norms: &Norms,
        wait: Option<Wait>,
        in_flight: u64,
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
            // More is waited for than was answered of late, and the fast answers came first.
            true => wait.silence.max(wait.age),
            _ => wait.silence,
        });
        let ratio = (seen.max(floor) + NOISE) / (median + NOISE);
        let failures = 1.0 + FAILURE * failed / (weight + failed + 1.0);
        let known = weight + failed >= KNOWN;
        Estimate {
            exact: ratio * failures,
            about: known.then(|| about(ratio) * failures),
        }
    }

    /// An answer came after `latency` seconds.
    pub(super) fn succeeded(&self, now: Micros, latency: f32, median: Option<f32>) {
        let mut evidence = self.evidence(now);
        let usual = match evidence.weight > 0.0 {
            true => Some(evidence.mean.max(median.unwrap_or(0.0))),
            false => median,
        };
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

    /// The endpoint seemed to have stalled with so many requests, and has answered another.
    pub(super) fn polled(&self, now: Micros, requests: u64) {
        let mut evidence = self.evidence(now);
        evidence.polls += requests as f32;
        self.store(now, evidence);
    }

    /// An answer was a failure: however fast, it says nothing about how long a good one takes.
    pub(super) fn failed(&self, now: Micros) {
        let mut evidence = self.evidence(now);
        evidence.failed += 1.0;
        self.store(now, evidence);
    }
}

/// `ratio`, but 1 when it is near it.
fn about(ratio: f32) -> f32 {
    match ratio {
        _ if ratio < 1.0 / ALIKE => ratio * ALIKE,
        _ if ratio > ALIKE => ratio / ALIKE,
        _ => 1.0,
    }
}

fn pack([a, b]: [f32; 2]) -> u64 {
    u64::from(a.to_bits()) << 32 | u64::from(b.to_bits())
}

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
        latency.estimate(now, &NORMS, None, 0).exact
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
        assert!(latency.estimate(0, &NORMS, Some(wait), 1).exact > 50.0);
        let long_poll = Wait {
            count: 1,
            silence: 0.005,
            age: 10.0,
            again: 0,
        };
        assert_eq!(
            latency.estimate(0, &NORMS, Some(long_poll), 1).exact,
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
        assert!(latency.estimate(0, &NORMS, Some(wait), 50).exact > 5.0);
    }
}
