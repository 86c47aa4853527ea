//! Any.

use std::sync::{Arc, Mutex, PoisonError};

use super::picker::{Endpoints, PickInfo, Picked, Picker};

/// Any endpoint, in proportion to the weights.
///
/// A pick looks at all endpoints.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

pub(super) struct RandomPicker(Mutex<fastrand::Rng>);

impl RandomPicker {
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
