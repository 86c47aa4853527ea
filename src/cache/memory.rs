//! The store in memory.

use std::{
    fmt,
    hash::RandomState,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache as EvictingMap, DefaultLifecycle},
};

use super::{
    key::CacheKey,
    store::{Purge, Store, StoreUsage, StoredVariants},
    stored::StoredResponse,
};
use crate::error::BoxError;

/// What an entry costs beside its key and its responses: its places in the map and in the queues, and three counters.
const ENTRY_OVERHEAD: usize = 160;

/// The size of a part of the map that has a lock of its own. No response may be larger, because each part evicts for
/// itself.
const SHARD: u64 = 64 << 20;

/// The number of entries that the map has room for at first, for each byte of its capacity.
const TYPICAL_ENTRY: u64 = 16 << 10;

/// Keeps responses in memory, and evicts those that are used least (S3-FIFO, by `quick_cache`).
///
/// Its capacity is in bytes, and everything counts: keys, heads, content, and what the structures around them need. A
/// response that a slow client still reads after it was evicted is no longer counted.
pub struct MemoryStore {
    map: EvictingMap<CacheKey, StoredVariants, EntrySize, RandomState>,
    /// Held by those who change an entry by what is in it. Readers do not take it.
    changing: Mutex<()>,
}

#[derive(Clone)]
struct EntrySize;

impl Weighter<CacheKey, StoredVariants> for EntrySize {
    fn weight(&self, key: &CacheKey, variants: &StoredVariants) -> u64 {
        (ENTRY_OVERHEAD + key.as_str().len() + variants.size()) as u64
    }
}

impl MemoryStore {
    /// Returns a store of this many bytes.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        let shards = usize::try_from(max_bytes / SHARD).unwrap_or(1).clamp(1, 64);
        let entries = (max_bytes / TYPICAL_ENTRY).clamp(16, 1 << 20);
        let mut options = OptionsBuilder::new();
        options
            .shards(shards)
            .estimated_items_capacity(usize::try_from(entries).unwrap_or(16))
            .weight_capacity(max_bytes);
        let lifecycle = DefaultLifecycle::default;
        // Keys are chosen by clients, so the hash is one that they cannot predict.
        let map = match options.build() {
            Ok(options) => {
                EvictingMap::with_options(options, EntrySize, RandomState::new(), lifecycle())
            }
            // Only if one of the three was not set.
            Err(_) => EvictingMap::with(16, max_bytes, EntrySize, RandomState::new(), lifecycle()),
        };
        Self {
            map,
            changing: Mutex::new(()),
        }
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        // It guards no data.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<StoredVariants>, BoxError> {
        Ok(self.map.get(key))
    }

    async fn put(
        &self,
        key: &CacheKey,
        response: Arc<StoredResponse>,
        max_variants: usize,
    ) -> Result<(), BoxError> {
        let _changing = self.change();
        let variants = match self.map.peek(key) {
            Some(others) => {
                // Together they may be more than the map takes, which would then keep none of them.
                let fits = |variants: &StoredVariants| {
                    EntrySize.weight(key, variants) <= self.map.shard_capacity() / 2
                };
                let most = (1..=max_variants)
                    .rev()
                    .map(|max| others.with(&response, max));
                let mut most = most.skip_while(|variants| !fits(variants));
                most.next().unwrap_or_else(|| StoredVariants::one(response))
            }
            None => StoredVariants::one(response),
        };
        self.map.insert(key.clone(), variants);
        Ok(())
    }

    async fn remove(&self, key: &CacheKey) -> Result<(), BoxError> {
        let _changing = self.change();
        self.map.remove(key);
        Ok(())
    }

    async fn purge(&self, purge: &Purge) -> Result<usize, BoxError> {
        let _changing = self.change();
        let mut changed = Vec::new();
        for (key, variants) in self.map.iter() {
            if variants
                .iter()
                .any(|response| purge.is_about(&key, response))
            {
                let left = variants.without(|response| purge.is_about(&key, response));
                changed.push((key, left));
            }
        }
        let mut gone = 0;
        for (key, left) in changed {
            match left {
                Some(left) => self.map.insert(key, left),
                None => {
                    self.map.remove(&key);
                    gone += 1;
                }
            }
        }
        Ok(gone)
    }

    fn usage(&self) -> StoreUsage {
        StoreUsage::new(self.map.len(), self.map.weight())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}
