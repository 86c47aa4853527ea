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
            let weights = || sampled().map(|endpoint| endpoint.weight());
            let lightest = weights()
                .min()
                .filter(|least| weights().any(|weight| weight != *least));
            self.take_survey(&look(sampled(), self.now()), panic, lightest);
        }
    }
}

/// Returns what the endpoints show at `now`.
fn look<'a, S: 'a>(endpoints: impl Iterator<Item = &'a Arc<Endpoint<S>>>, now: u64) -> Findings {
    let (mut seen, mut spread) = (Findings::default(), Spread::default());
    let (mut latencies, mut lasting) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        let load = endpoint.load();
        let weight = endpoint.weight();
        lasting.push((load.counts(now).lasting as f32 / weight as f32, 1));
        let sample = load.sample(now);
        seen.answers += sample.weight;
        seen.polls += sample.polls;
        spread.add(sample.mean, sample.variance, sample.weight);
        // By weight, and so by the number of requests: the heaviest endpoint of a few is known best, and what is
        // normal must not depend on two others that have few answers. An endpoint that has not answered of late says
        // nothing about what is normal now.
        latencies.extend(sample.is_recent().then_some((sample.mean, weight)));
    }
    Findings {
        median: median(latencies),
        lasting: median(lasting).unwrap_or(0.0),
        variances: spread.variances(),
        ..seen
    }
}

/// Returns the median of values with weights, or `None` without values.
///
/// A value of weight 2 counts as two values. If one half of the weight ends between two values, it is their mean.
fn median(mut values: Vec<(f32, u32)>) -> Option<f32> {
    values.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
    let total: u64 = values.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let at = |nth: u64| {
        let mut before = 0;
        let reaches = |(_, weight): &&(f32, u32)| {
            before += u64::from(*weight);
            before > nth
        };
        values.iter().find(reaches).map(|(value, _)| *value)
    };
    Some(f32::midpoint(
        at(total.checked_sub(1)? / 2)?,
        at(total / 2)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_counts_weights() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![(2.0, 1)]), Some(2.0));
        assert_eq!(median(vec![(3.0, 1), (1.0, 1), (2.0, 1)]), Some(2.0));
        assert_eq!(
            median(vec![(4.0, 1), (1.0, 1), (2.0, 1), (3.0, 1)]),
            Some(2.5)
        );
        assert_eq!(median(vec![(3.0, 5), (1.0, 1), (2.0, 1)]), Some(3.0));
        assert_eq!(median(vec![(1.0, 3), (2.0, 2), (5.0, 1)]), Some(1.5));
        assert_eq!(median(vec![(1.0, u32::MAX), (2.0, u32::MAX)]), Some(1.5));
    }
}
