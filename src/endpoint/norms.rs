//! What is normal in a cluster.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::spread::Variances;

/// How much a survey changes what is known of chance. Five endpoints tell little by themselves.
const SMOOTHING: f32 = 0.05;

/// The most weight that the median has. Whether endpoints whose answers agree this well differ at all is not worth more.
const MOST_PRIOR: f32 = 64.0;

/// What is normal in a cluster, by which each of its endpoints is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norms {
    /// The median of the latency estimates, in seconds.
    pub(super) median: f32,
    /// How many answers' weight the median has, against what an endpoint's own answers say.
    pub(super) prior: f32,
    /// The share of requests for which an endpoint seemed to have stalled, and had not.
    pub(super) polls: f32,
    /// The median of the lasting requests that are in flight for each unit of weight.
    pub(super) lasting: f32,
}

/// What a survey saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// `None` if none of the endpoints has answered of late.
    pub(super) median: Option<f32>,
    pub(super) lasting: f32,
    /// The weight of all answers, and of the requests for which an endpoint seemed to have stalled.
    pub(super) answers: f32,
    pub(super) polls: f32,
    pub(super) variances: Option<Variances>,
}

/// [`Norms`] that are learned. They are only read and written as they are, so they need no lock.
#[derive(Debug, Default)]
pub(super) struct LearnedNorms {
    /// 0 before there is one.
    median: AtomicF32,
    prior: AtomicF32,
    polls: AtomicF32,
    lasting: AtomicF32,
    within: AtomicF32,
    between: AtomicF32,
}

impl LearnedNorms {
    /// `None` before any endpoint has answered.
    pub(super) fn get(&self) -> Option<Norms> {
        let median = self.median.get();
        (median > 0.0).then(|| Norms {
            median,
            // Before two have answered, the median weighs as much as one answer.
            prior: self.prior.get().max(1.0),
            polls: self.polls.get(),
            lasting: self.lasting.get(),
        })
    }

    pub(super) fn median(&self) -> Option<f32> {
        Some(self.median.get()).filter(|median| *median > 0.0)
    }

    pub(super) fn learn(&self, seen: &Seen) {
        if let Some(median) = seen.median {
            self.median.set(median);
        }
        self.lasting.set(seen.lasting);
        let requests = seen.answers + seen.polls;
        if requests > 0.0 {
            self.polls.approach(seen.polls / requests);
        }
        if let Some(variances) = seen.variances {
            self.within.approach(variances.within);
            self.between.approach(variances.between);
            self.prior.set(prior(
                self.within.get(),
                self.between.get(),
                variances.answers,
            ));
        }
    }
}

/// How many answers' weight the median has where endpoints give `answers` each.
///
/// The mean of few answers differs from the median by chance. How much that is follows from how much the answers of one
/// endpoint differ `within` themselves; how much endpoints really differ is what is left of the variance `between` them.
/// The ratio of the two is the weight with which one has to be held against the other (James and Stein 1961).
fn prior(within: f32, between: f32, answers: f32) -> f32 {
    // The mean of answers that lose weight exponentially has the variance of one, divided by twice their weight.
    if within >= 2.0 * MOST_PRIOR * between {
        return MOST_PRIOR;
    }
    let prior = within / (2.0 * between);
    // Where chance outweighs the rest by much, the rest is not significant, either.
    (prior * (prior / answers).max(1.0)).clamp(1.0, MOST_PRIOR)
}

/// A number that is read and written as it is.
#[derive(Debug, Default)]
struct AtomicF32(AtomicU32);

impl AtomicF32 {
    fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Relaxed))
    }

    fn set(&self, value: f32) {
        self.0.store(value.to_bits(), Relaxed);
    }

    fn approach(&self, value: f32) {
        self.set(self.get() + (value - self.get()) * SMOOTHING);
    }
}
