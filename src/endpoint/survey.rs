//! The periodic survey of a cluster's endpoints, from which [`Siblings`] learn what is normal.
//!
//! There is no task for it: the first pick after the interval takes it. So it costs nothing while a cluster is idle, it
//! needs no shutdown, and it sees a simulation's clock. The pick that takes it is slower by the time of looking at up
//! to [`SAMPLE`] endpoints.
//!
//! A survey only reads the endpoints. Two picks may take one at the same time, which costs time and nothing else.

use std::sync::Arc;

use super::{member::Endpoint, norms::Findings, siblings::Siblings, spread::Spread};

/// The most endpoints that a survey looks at: enough for the error of a median not to matter, and few enough for a
/// survey to be cheap in a cluster of ten thousand.
const SAMPLE: usize = 64;

impl Siblings {
    /// Begins a pick among `endpoints`: reads the clock, and takes a survey if one is due.
    ///
    /// Costs, ranks and availabilities are as of the last tick, so that all endpoints of a pick are judged by the same
    /// clock and norms, and the clock is read once.
    pub(crate) fn tick<S>(&self, endpoints: &[Arc<Endpoint<S>>]) {
        if self.begin_pick() && !endpoints.is_empty() {
            // Every `step`-th, which is as good as a random sample: their order is that of insertion.
            let step = endpoints.len().div_ceil(SAMPLE);
            let sampled = || endpoints.iter().step_by(step);
            let left_alone = sampled()
                .filter(|endpoint| !endpoint.availability().is_well())
                .count();
            let panic = 2 * left_alone > sampled().len();
            self.take_survey(&look(sampled(), self.now()), panic);
        }
    }
}

/// Returns what the endpoints show at `now`.
fn look<'a, S: 'a>(endpoints: impl Iterator<Item = &'a Arc<Endpoint<S>>>, now: u64) -> Findings {
    let (mut seen, mut spread) = (Findings::default(), Spread::default());
    let (mut latencies, mut lasting) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        let load = endpoint.load();
        lasting.push(load.counts(now).lasting as f32 / endpoint.weight() as f32);
        let sample = load.sample(now);
        seen.answers += sample.weight;
        seen.polls += sample.polls;
        spread.add(sample.mean, sample.variance, sample.weight);
        // An endpoint that has not answered of late says nothing about what is normal now.
        latencies.extend(sample.is_recent().then_some(sample.mean));
    }
    Findings {
        median: median(latencies),
        lasting: median(lasting).unwrap_or(0.0),
        variances: spread.variances(),
        ..seen
    }
}

/// Returns the median, the mean of the middle two if their number is even, or `None` without values.
fn median(mut values: Vec<f32>) -> Option<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let (lower, upper) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f32::midpoint(values[lower], values[upper]))
}
