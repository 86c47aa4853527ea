//! Keys whose responses are not stored: requests for them are not collapsed.

use std::{collections::hash_map::RandomState, fmt, hash::BuildHasher, time::Duration};

use quick_cache::sync::Cache as EvictingMap;
use tokio::time::Instant;

use super::key::CacheKey;

/// For how long a key is remembered, after a response that was not storable.
const MEMORY: Duration = Duration::from_secs(10);

/// How many keys are remembered.
const MAX_KEYS: usize = 4096;

/// Keys that have lately had a response that nothing in the request kept from being stored.
///
/// Without it, all requests that come while one is under way would wait for its head, in vain, again and again. Keys
/// are kept as hashes: two that have the same one only have their requests sent at once.
pub(super) struct NotStorable {
    until: EvictingMap<u64, Instant>,
    hasher: RandomState,
}

impl NotStorable {
    pub(super) fn new() -> Self {
        Self {
            until: EvictingMap::new(MAX_KEYS),
            hasher: RandomState::new(),
        }
    }

    /// Remembers a key.
    pub(super) fn add(&self, key: &CacheKey) {
        self.until
            .insert(self.hasher.hash_one(key), Instant::now() + MEMORY);
    }

    /// Forgets a key, which has had a response that can be stored.
    pub(super) fn remove(&self, key: &CacheKey) {
        self.until.remove(&self.hasher.hash_one(key));
    }

    /// Returns whether a key is remembered.
    pub(super) fn contains(&self, key: &CacheKey) -> bool {
        let until = self.until.get(&self.hasher.hash_one(key));
        until.is_some_and(|until| Instant::now() < until)
    }
}

impl fmt::Debug for NotStorable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotStorable").finish_non_exhaustive()
    }
}
