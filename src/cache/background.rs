//! Flights that go on although no client waits for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use slab::Slab;

use super::flight::Flight;

/// How many there may be: beyond it, stale responses are served without being validated.
const MAX_BACKGROUND: usize = 256;

/// The flights that the cache itself holds. They end with it.
#[derive(Default)]
pub(super) struct Background(Mutex<Slab<Arc<Flight>>>);

/// Has a flight be held until this is dropped.
pub(super) struct HeldFlight {
    background: Weak<Background>,
    place: usize,
}

impl Background {
    /// Holds a flight. `None` if too many are held already.
    pub(super) fn hold(self: &Arc<Self>, flight: Arc<Flight>) -> Option<HeldFlight> {
        let mut held = self.lock();
        let place = (held.len() < MAX_BACKGROUND).then(|| held.insert(flight))?;
        Some(HeldFlight {
            background: Arc::downgrade(self),
            place,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Arc<Flight>>> {
        // Nothing under the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldFlight {
    fn drop(&mut self) {
        if let Some(background) = self.background.upgrade() {
            // Dropped after the lock is released: it may be the last to hold the flight, which ends with it.
            let flight = background.lock().try_remove(self.place);
            drop(flight);
        }
    }
}
