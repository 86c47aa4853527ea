//! How long an endpoint takes to answer, as far as one can tell.
//!
//! An estimate is a mean of what was seen, weighed against what its peers take. What was seen counts less the older it
//! is, so an endpoint nobody has asked for a while is taken to be like the others, is asked again, and shows what it
//! is now. tower's `PeakEwma` differs in four ways, each of which loses requests: it decays toward zero and by being
//! read, it takes an error for a fast answer, one slow answer rules an endpoint out for a minute, and a new endpoint
//! starts at a constant (`docs/BALANCING.md` has the figures).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::peers::Micros;

/// How fast what was seen loses weight, in seconds: by a factor of e.
const DECAY: f32 = 5.0;

/// How many answers' weight the peers' median has.
const PRIOR: f32 = 1.0;

/// The most an answer counts for, as a multiple of the estimate. One answer out of line moves the estimate a little; a
/// few in a row, by as much as they say.
const OUTLIER: f32 = 4.0;

/// How much longer an endpoint would take if all its answers were failures. A failure is as bad as a wait: whoever
/// asked has to ask again.
const FAILURE: f32 = 100.0;

/// Estimates within this factor of the median are the same.
const ALIKE: f32 = 1.25;

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
    /// The weight of what failed.
    failed: AtomicU32,
    /// When the weights were true.
    at: AtomicU64,
}

/// What is known at one moment.
#[derive(Clone, Copy)]
struct Evidence {
    mean: f32,
    weight: f32,
    failed: f32,
}

impl Latency {
    fn evidence(&self, now: Micros) -> Evidence {
        let age = now.saturating_sub(self.at.load(Relaxed)) as f32 * 1e-6;
        let decay = (-age / DECAY).exp();
        let seen = self.seen.load(Relaxed);
        let [mean, weight] = [(seen >> 32) as u32, seen as u32].map(f32::from_bits);
        Evidence { mean, weight: weight * decay, failed: f32::from_bits(self.failed.load(Relaxed)) * decay }
    }

    fn store(&self, now: Micros, evidence: Evidence) {
        let [mean, weight] = [evidence.mean, evidence.weight].map(|x| u64::from(x.to_bits()));
        self.seen.store(mean << 32 | weight, Relaxed);
        self.failed.store(evidence.failed.to_bits(), Relaxed);
        self.at.store(now, Relaxed);
    }

    /// The mean of the answers, in seconds, if there were any of late.
    pub(super) fn measured(&self, now: Micros) -> Option<f32> {
        let evidence = self.evidence(now);
        (evidence.weight >= PRIOR / 4.0).then_some(evidence.mean)
    }

    /// What a request costs here for as long as it takes, in seconds, where peers take `median`: the next answer's
    /// latency, and failures as if they took longer.
    pub(super) fn estimate(&self, now: Micros, median: f32) -> f32 {
        let Evidence { mean, weight, failed } = self.evidence(now);
        let latency = (mean * weight + median * PRIOR) / (weight + PRIOR);
        about(latency + NOISE, median + NOISE) * (1.0 + FAILURE * failed / (weight + failed + PRIOR))
    }

    /// An answer came after `latency` seconds.
    pub(super) fn succeeded(&self, now: Micros, latency: f32, median: Option<f32>) {
        let mut evidence = self.evidence(now);
        let usual = match evidence.weight > 0.0 {
            true => Some(evidence.mean.max(median.unwrap_or(0.0))),
            false => median,
        };
        let latency = latency.min(usual.map_or(f32::MAX, |usual| usual * OUTLIER)).max(1e-6);
        evidence.mean = (evidence.mean * evidence.weight + latency) / (evidence.weight + 1.0);
        evidence.weight += 1.0;
        self.store(now, evidence);
    }

    /// A request was given up after `waited` seconds. How long it would have taken is not known, only that it is more.
    pub(super) fn given_up(&self, now: Micros, waited: f32, median: Option<f32>) {
        let evidence = self.evidence(now);
        if median.is_some_and(|median| waited > median) && waited > evidence.mean {
            self.succeeded(now, waited, median);
        }
    }

    /// An answer was a failure: however fast, it says nothing about how long a good one takes.
    pub(super) fn failed(&self, now: Micros) {
        let mut evidence = self.evidence(now);
        evidence.failed += 1.0;
        self.store(now, evidence);
    }
}

/// `latency`, but the median when it is near it: what differs by chance alone should take turns.
fn about(latency: f32, median: f32) -> f32 {
    let (low, high) = (median / ALIKE, median * ALIKE);
    match latency {
        _ if latency < low => latency * ALIKE,
        _ if latency > high => latency / ALIKE,
        _ => median,
    }
}
