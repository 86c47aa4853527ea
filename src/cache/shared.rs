//! What all clones of a cache share.

use std::sync::Arc;

use super::{
    budget::MemoryBudget,
    counts::{CacheCounters, CacheCounts, count},
    flight::FlightTable,
    generations::KeyGeneration,
    key::CacheKey,
    not_storable::NotStorable,
    settings::CacheSettings,
    store::{Purge, Store, StoredVariants},
    stored::StoredResponse,
};
use crate::error::BoxError;

/// The store with what is under way. Tasks hold it, too.
#[derive(Debug)]
pub(super) struct CacheState<St> {
    store: St,
    pub(super) settings: CacheSettings,
    pub(super) flights: Arc<FlightTable>,
    pub(super) not_storable: NotStorable,
    pub(super) counters: CacheCounters,
    pub(super) budget: Arc<MemoryBudget>,
}

impl<St: Store> CacheState<St> {
    pub(super) fn new(store: St, settings: CacheSettings) -> Self {
        Self {
            budget: Arc::new(MemoryBudget::new(settings.max_in_flight)),
            store,
            settings,
            flights: Arc::new(FlightTable::new()),
            not_storable: NotStorable::new(),
            counters: CacheCounters::default(),
        }
    }

    /// Returns what is stored. An error is as if nothing was.
    pub(super) async fn get(&self, key: &CacheKey) -> Option<StoredVariants> {
        self.or_count(self.store.get(key).await).flatten()
    }

    /// Stores a response, unless its key was invalidated since it was asked for.
    pub(super) async fn put(
        &self,
        key: &CacheKey,
        response: Arc<StoredResponse>,
        since: KeyGeneration,
    ) {
        if !self.flights.generations().is_current(key, since) {
            return;
        }
        let max = self.settings.max_variants;
        let put = self.store.put(key, response, max).await;
        if self.or_count(put).is_some() {
            count(&self.counters.stored);
        }
        // An invalidation in between has removed what was there before. One that comes now removes this response.
        if !self.flights.generations().is_current(key, since) {
            self.remove(key).await;
        }
    }

    /// Removes what is stored.
    pub(super) async fn remove(&self, key: &CacheKey) {
        self.or_count(self.store.remove(key).await);
    }

    /// Removes what is stored, and has what is under way not be stored.
    pub(super) async fn invalidate(&self, key: &CacheKey) {
        self.flights.invalidate(key);
        self.remove(key).await;
    }

    /// Removes what a purge is about. What is under way is not stored: which groups it has is not known yet.
    ///
    /// # Errors
    ///
    /// Returns the store's error.
    pub(super) async fn purge(&self, purge: &Purge) -> Result<usize, BoxError> {
        self.flights.invalidate_all();
        let purged = self.store.purge(purge).await;
        purged.inspect_err(|_| count(&self.counters.store_errors))
    }

    pub(super) fn counts(&self) -> CacheCounts {
        let usage = self.store.usage();
        CacheCounts {
            entries: usage.entries,
            bytes: usage.bytes,
            bytes_in_flight: self.budget.used(),
            ..self.counters.read()
        }
    }

    fn or_count<T>(&self, result: Result<T, BoxError>) -> Option<T> {
        result
            .inspect_err(|error| {
                count(&self.counters.store_errors);
                tracing::debug!(
                    error = &**error as &dyn std::error::Error,
                    "cache store failed"
                );
            })
            .ok()
    }
}
