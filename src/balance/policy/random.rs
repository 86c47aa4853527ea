//! [`Random`]: any endpoint, by weight.

use std::sync::{Arc, Mutex, PoisonError};

use super::picker::{Endpoints, PickInfo, Picked, Picker};

/// Picks any endpoint, in proportion to the weights.
///
/// Load and latency do not count: by chance alone, some endpoint has a multiple of the others' requests at any time. It
/// is of use as the baseline for comparisons, and where there are so many proxies that what one of them sees of an
/// endpoint says nothing.
///
/// A pick looks at all endpoints twice, and takes a lock only to draw a number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

/// The picker of [`Random`]. It has no state per endpoint, so one serves all snapshots.
pub(super) struct RandomPicker(Mutex<fastrand::Rng>);

impl RandomPicker {
    /// Makes a picker that draws from `rng`.
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self(Mutex::new(rng))
    }
}

impl<S> Picker<S> for RandomPicker {
    fn updated(self: Arc<Self>, _: &Arc<Endpoints<S>>) -> Arc<dyn Picker<S>> {
        self
    }

    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let total: u64 = info
            .candidates(members)
            .map(|(_, endpoint)| u64::from(endpoint.weight()))
            .sum();
        if total == 0 {
            return None;
        }
        let mut drawn = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .u64(..total);
        // An endpoint may stop being a candidate between the two looks. Then the second may have too little weight.
        for (_, endpoint) in info.candidates(members) {
            let weight = u64::from(endpoint.weight());
            if drawn < weight {
                return Some(Picked::start(endpoint));
            }
            drawn -= weight;
        }
        None
    }
}
