//! What is normal in a cluster: the values by which each of its endpoints is judged.
//!
//! Each [survey](super::survey) of the endpoints updates them ([`LearnedNorms::learn`]); each cost that is computed
//! reads them ([`LearnedNorms::get`]). They are relative to what the cluster does at the time, so nothing has to be
//! configured: a latency of 100 ms is slow in one cluster and fast in another.
//!
//! The median of the latencies and the count of lasting requests are taken over as a survey finds them. The share of
//! polls and the variances are noisy in a small cluster, so they are smoothed over about `1 / SMOOTHING` surveys, which
//! is two seconds where picks are frequent.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::spread::Variances;

/// How much one survey counts in the averages that are smoothed. The variance between five endpoints, seen once, is
/// little more than a guess.
const SMOOTHING: f32 = 0.05;

/// The greatest weight of the median, in answers. With more, it would take too long to notice an endpoint that does
/// become slow in a cluster of equals.
const MOST_PRIOR: f32 = 64.0;

/// What is normal in a cluster at the moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norms {
    /// The median of the latency estimates, in seconds.
    pub(super) median: f32,
    /// The weight of the median against an endpoint's own answers, in answers: 1 to [`MOST_PRIOR`].
    pub(super) prior: f32,
    /// The share of requests, from 0 to 1, during which an endpoint seemed to have stalled, and had not: long polls.
    pub(super) polls: f32,
    /// The median number of lasting requests in flight per unit of weight.
    pub(super) lasting: f32,
}

/// What one survey has found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Findings {
    /// The median of the latency estimates, in seconds, or `None` if no endpoint has answered of late.
    pub(super) median: Option<f32>,
    /// The median number of lasting requests in flight per unit of weight.
    pub(super) lasting: f32,
    /// The weight of the answers of all endpoints.
    pub(super) answers: f32,
    /// The weight of the requests during which an endpoint seemed to have stalled.
    pub(super) polls: f32,
    /// The variances within and between endpoints, or `None` if there were too few answers.
    pub(super) variances: Option<Variances>,
}

/// The [`Norms`] of a cluster, updated while picks read them.
///
/// The fields are independent of each other, and a pick may see some of them before and some after a survey. No formula
/// depends on their agreement, so there is no lock. Two surveys at the same time may lose the update of one.
#[derive(Debug, Default)]
pub(super) struct LearnedNorms {
    /// In seconds; 0 until an endpoint has answered. It stays as it is while no endpoint answers.
    median: AtomicF32,
    /// In answers; 0 until two endpoints have answered.
    prior: AtomicF32,
    /// A moving average.
    polls: AtomicF32,
    /// As of the last survey.
    lasting: AtomicF32,
    /// A moving average, in units of the squared mean.
    within: AtomicF32,
    /// A moving average, in units of the squared mean. It is averaged with its sign, so that chance cancels out.
    between: AtomicF32,
}

impl LearnedNorms {
    /// Returns the norms, or `None` if no endpoint of the cluster has answered yet.
    pub(super) fn get(&self) -> Option<Norms> {
        let median = self.median.get();
        (median > 0.0).then(|| Norms {
            median,
            // Until two endpoints have answered, the median weighs as much as one answer.
            prior: self.prior.get().max(1.0),
            polls: self.polls.get(),
            lasting: self.lasting.get(),
        })
    }

    /// Returns the median alone, which is cheaper, or `None` if no endpoint of the cluster has answered yet.
    pub(super) fn median(&self) -> Option<f32> {
        Some(self.median.get()).filter(|median| *median > 0.0)
    }

    /// Updates the norms by what a survey has found.
    pub(super) fn learn(&self, seen: &Findings) {
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

/// Returns the weight of the median, in answers, where the recent answers of an endpoint weigh `answers` on average.
///
/// The mean of a few answers differs from the endpoint's true mean by chance, by `within / (2 × weight)`. The
/// endpoints' true means differ from each other by `between`. The error of an estimate is least if the endpoint's own
/// mean and that of all are weighted by `weight` to `within / (2 × between)`: the estimator of James and Stein (1961),
/// in the form of Efron and Morris (1973). So the more the answers of one endpoint vary, and the less the endpoints
/// differ, the more the median counts.
///
/// No constant serves all clusters. With 1, an endpoint of five equal ones got up to 20 % more or less than its share
/// at low load, and the mean of scenario S12 was 1.65 service times, not 1.45. With 16, real differences count too
/// little: the p99 of S8 at load 1.05 was 294 ms, not 244. (`docs/BALANCING.md` has the scenarios.)
fn prior(within: f32, between: f32, answers: f32) -> f32 {
    // Also if `between` is 0 or negative, which says that the endpoints are equal.
    if within >= 2.0 * MOST_PRIOR * between {
        return MOST_PRIOR;
    }
    let prior = within / (2.0 * between);
    // If the prior outweighs what is known of an endpoint, `between` is itself mostly chance, and is trusted less.
    (prior * (prior / answers).max(1.0)).clamp(1.0, MOST_PRIOR)
}

/// An `f32` that is read and written atomically, with relaxed ordering.
#[derive(Debug, Default)]
struct AtomicF32(AtomicU32);

impl AtomicF32 {
    /// Returns the value.
    fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Relaxed))
    }

    /// Replaces the value.
    fn set(&self, value: f32) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// Moves the value toward `value`, as an exponential moving average. Not atomic: an update at the same time is
    /// lost.
    fn approach(&self, value: f32) {
        self.set(self.get() + (value - self.get()) * SMOOTHING);
    }
}
