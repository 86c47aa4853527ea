//! [`LeastRequest`]: the endpoint with the fewest requests in flight.

use std::sync::{Arc, Mutex, PoisonError};

use super::picker::{Endpoints, PickInfo, Picked, Picker, cheapest};
use crate::endpoint::Measure;

/// Picks the endpoint with the fewest requests in flight for its weight; between equals, the one picked longer ago.
///
/// This is the best policy for one proxy in front of endpoints of equal speed. Several proxies do not see each other's
/// requests, and all send to the endpoint that seems idle; [`P2c`](super::P2c) avoids that. An endpoint that fails fast
/// has little in flight, and so attracts requests.
///
/// A pick looks at all endpoints, under a lock. It starts at a random one, so that many proxies do not all prefer the
/// first.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastRequest;

/// The picker of [`LeastRequest`]. It has no state per endpoint, so one serves all snapshots.
///
/// The lock is held until the request is counted, so that two picks at the same time do not choose the same endpoint.
pub(super) struct LeastRequestPicker(Mutex<fastrand::Rng>);

impl LeastRequestPicker {
    /// Makes a picker that draws its starting points from `rng`.
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
        // Not only the candidates: the cost has the rank first, so one that should be left alone comes last anyway.
        cheapest(info.untried_from(members, start), Measure::InFlight).map(Picked::start)
    }
}
