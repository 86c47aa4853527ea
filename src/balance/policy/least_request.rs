//! The one with the least to do.

use std::sync::{Arc, Mutex, PoisonError};

use super::picker::{Endpoints, PickInfo, Picked, Picker, cheapest};
use crate::endpoint::Measure;

/// The endpoint with the fewest requests in flight for its weight; between equals, the one picked longer ago.
///
/// A pick looks at all endpoints, from a random one on, so that many proxies do not all prefer the first. It is the
/// best there is for one proxy before endpoints of equal speed; several proxies do not see each other's requests, and
/// all run to the same idle endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastRequest;

/// The lock is held for the whole scan, so that two picks at once do not choose the same endpoint.
pub(super) struct LeastRequestPicker(Mutex<fastrand::Rng>);

impl LeastRequestPicker {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self(Mutex::new(rng))
    }
}

impl<S> Picker<S> for LeastRequestPicker {
    fn updated(self: Arc<Self>, _: &Arc<Endpoints<S>>) -> Arc<dyn Picker<S>> {
        self
    }

    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = rng.usize(..members.len().max(1));
        let (before, after) = members.split_at(start.min(members.len()));
        let untried = after
            .iter()
            .chain(before)
            .filter(|endpoint| info.untried(endpoint));
        cheapest(untried, Measure::InFlight).map(Picked::start)
    }
}
