//! The look at all endpoints of a cluster that a pick takes now and then.

use std::sync::Arc;

use super::{load::Load, member::Endpoint, siblings::Siblings};

/// How many endpoints a median is taken of at most: enough that the error does not matter, few enough that the look at
/// them is cheap in a cluster of ten thousand.
const SAMPLE: usize = 64;

impl Siblings {
    /// A pick begins: looks at the clock, and now and then at the endpoints.
    pub(crate) fn tick<S>(&self, endpoints: &[Arc<Endpoint<S>>]) {
        if self.begin_pick() && !endpoints.is_empty() {
            let step = endpoints.len().div_ceil(SAMPLE);
            let sampled = || {
                endpoints
                    .iter()
                    .step_by(step)
                    .map(|endpoint| &**endpoint.load())
            };
            let left_alone = sampled()
                .filter(|load| !load.availability().is_well())
                .count();
            self.take_survey(
                median(sampled(), self.now()),
                2 * left_alone > sampled().len(),
            );
        }
    }
}

/// The median of what was measured of late, in seconds.
fn median<'a>(loads: impl Iterator<Item = &'a Load>, now: u64) -> Option<f32> {
    let mut estimates: Vec<f32> = loads.filter_map(|load| load.latency(now)).collect();
    estimates.sort_unstable_by(f32::total_cmp);
    let (lower, upper) = (estimates.len().checked_sub(1)? / 2, estimates.len() / 2);
    Some(f32::midpoint(estimates[lower], estimates[upper]))
}
