//! Requests to the origin that other requests may share.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use tokio::{sync::watch, task::AbortHandle};
use tracing::Instrument;

use super::{
    generations::KeyGenerations, key::CacheKey, recording::Recording, stored::StoredResponse,
};

/// The flights of a cache, by key.
pub(super) struct FlightTable {
    flights: Mutex<HashMap<CacheKey, Weak<Flight>>>,
    generations: KeyGenerations,
}

/// One request to the origin, with a task of its own.
///
/// All that wait for its head or read its body hold it. When the last of them has gone, the task is cancelled.
pub(super) struct Flight {
    key: CacheKey,
    /// The table that it is in, unless it is for one request only.
    table: Option<Arc<FlightTable>>,
    task: OnceLock<AbortHandle>,
    head: watch::Receiver<FlightHead>,
}

/// What those who have joined a flight get.
#[derive(Clone)]
pub(super) enum FlightHead {
    /// It is not known yet.
    Pending,
    /// A response that arrives.
    Live(Arc<Recording>),
    /// A response that was stored, and has been validated.
    Stored(Arc<StoredResponse>),
    /// A response that was stored, because the origin fails.
    Stale(Arc<StoredResponse>),
    /// Nothing that could be shared: each has to ask for itself.
    Alone,
}

/// Whether a request leads a flight or joins one.
pub(super) enum Boarding {
    /// The flight is new, and waits for a task.
    Lead(Arc<Flight>, watch::Sender<FlightHead>),
    Join(Arc<Flight>),
}

impl FlightTable {
    pub(super) fn new() -> Self {
        Self {
            flights: Mutex::default(),
            generations: KeyGenerations::new(),
        }
    }

    /// Joins the flight of a key, or begins one.
    pub(super) fn board(self: &Arc<Self>, key: &CacheKey) -> Boarding {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(key).and_then(Weak::upgrade) {
            return Boarding::Join(flight);
        }
        let (flight, head) = Flight::new(key, Some(self.clone()));
        flights.insert(key.clone(), Arc::downgrade(&flight));
        Boarding::Lead(flight, head)
    }

    /// Has later requests for a key begin a flight of their own.
    pub(super) fn close(&self, key: &CacheKey) {
        self.lock().remove(key);
    }

    /// Returns how often keys were invalidated.
    pub(super) fn generations(&self) -> &KeyGenerations {
        &self.generations
    }

    /// Invalidates a key: what is under way is neither stored nor joined.
    pub(super) fn invalidate(&self, key: &CacheKey) {
        self.generations.end(key);
        self.close(key);
    }

    /// Invalidates all keys.
    pub(super) fn invalidate_all(&self) {
        self.generations.end_all();
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Weak<Flight>>> {
        // Nothing under the lock panics.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn new(
        key: &CacheKey,
        table: Option<Arc<FlightTable>>,
    ) -> (Arc<Self>, watch::Sender<FlightHead>) {
        let (sender, head) = watch::channel(FlightHead::Pending);
        let flight = Self {
            key: key.clone(),
            table,
            task: OnceLock::new(),
            head,
        };
        (Arc::new(flight), sender)
    }

    /// Returns a flight that no other request joins.
    pub(super) fn solo(key: &CacheKey) -> (Arc<Self>, watch::Sender<FlightHead>) {
        Self::new(key, None)
    }

    /// Spawns the task of the flight, which ends with it at the latest.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub(super) fn depart(&self, run: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(run.in_current_span());
        if let Err(task) = self.task.set(task.abort_handle()) {
            task.abort();
        }
    }

    /// Returns whether nothing is shared yet.
    pub(super) fn is_pending(&self) -> bool {
        matches!(*self.head.borrow(), FlightHead::Pending)
    }

    /// Waits for what is shared. A flight whose task has ended without a word shares nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub(super) async fn head(&self) -> FlightHead {
        let mut head = self.head.clone();
        let known = head
            .wait_for(|head| !matches!(head, FlightHead::Pending))
            .await;
        known.map_or(FlightHead::Alone, |head| head.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
        if let Some(table) = &self.table {
            let mut flights = table.lock();
            // Another one may have taken its place.
            if flights
                .get(&self.key)
                .is_some_and(|flight| flight.strong_count() == 0)
            {
                flights.remove(&self.key);
            }
        }
    }
}

impl fmt::Debug for FlightTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightTable").finish_non_exhaustive()
    }
}
