//! The look at all endpoints of a cluster that a pick takes now and then.

use std::sync::Arc;

use super::{member::Endpoint, norms::Seen, siblings::Siblings, spread::Spread};

/// How many endpoints are looked at at most: enough that the error does not matter, few enough that the look at them is
/// cheap in a cluster of ten thousand.
const SAMPLE: usize = 64;

impl Siblings {
    /// A pick begins: looks at the clock, and now and then at the endpoints.
    pub(crate) fn tick<S>(&self, endpoints: &[Arc<Endpoint<S>>]) {
        if self.begin_pick() && !endpoints.is_empty() {
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

fn look<'a, S: 'a>(endpoints: impl Iterator<Item = &'a Arc<Endpoint<S>>>, now: u64) -> Seen {
    let (mut seen, mut spread) = (Seen::default(), Spread::default());
    let (mut latencies, mut lasting) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        let load = endpoint.load();
        lasting.push(load.counts(now).lasting as f32 / endpoint.weight() as f32);
        let sample = load.sample(now);
        seen.answers += sample.weight;
        seen.polls += sample.polls;
        spread.add(sample.mean, sample.variance, sample.weight);
        latencies.extend(sample.is_recent().then_some(sample.mean));
    }
    Seen {
        median: median(latencies),
        lasting: median(lasting).unwrap_or(0.0),
        variances: spread.variances(),
        ..seen
    }
}

fn median(mut values: Vec<f32>) -> Option<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let (lower, upper) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f32::midpoint(values[lower], values[upper]))
}
