//! Any.

use std::sync::{Mutex, PoisonError};

use super::{Ask, Members, Picked, Picker};

/// Any endpoint, in proportion to the weights.
///
/// A pick looks at all endpoints.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

pub(super) struct Dice(Mutex<fastrand::Rng>);

impl Dice {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self(Mutex::new(rng))
    }
}

impl<S> Picker<S> for Dice {
    fn update(&mut self, _: &Members<S>) {}

    fn pick(&self, members: &Members<S>, ask: &Ask<'_, S>) -> Option<Picked<S>> {
        let total: u64 = ask
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
        for (_, endpoint) in ask.candidates(members) {
            let weight = u64::from(endpoint.weight());
            if drawn < weight {
                return Some(Picked::start(endpoint));
            }
            drawn -= weight;
        }
        None
    }
}
