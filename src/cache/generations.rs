//! How often keys were invalidated: a response that was asked for before that is not stored.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
};

use super::key::CacheKey;

/// How many counters there are. Keys that share one only have a response stored less.
const COUNTERS: usize = 1024;

/// Counts the invalidations of keys.
pub(super) struct KeyGenerations {
    counters: Box<[AtomicU64]>,
    /// Those of all keys.
    all: AtomicU64,
    hasher: RandomState,
}

/// Which invalidations of a key there were at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyGeneration(u64, u64);

impl KeyGenerations {
    pub(super) fn new() -> Self {
        Self {
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    /// Returns what [`is_current`](Self::is_current) compares with.
    pub(super) fn of(&self, key: &CacheKey) -> KeyGeneration {
        let own = self.counter(key).load(Ordering::Acquire);
        KeyGeneration(own, self.all.load(Ordering::Acquire))
    }

    /// Returns whether a key has not been invalidated since.
    pub(super) fn is_current(&self, key: &CacheKey, since: KeyGeneration) -> bool {
        self.of(key) == since
    }

    /// Counts an invalidation of a key.
    pub(super) fn end(&self, key: &CacheKey) {
        self.counter(key).fetch_add(1, Ordering::AcqRel);
    }

    /// Counts an invalidation of all keys.
    pub(super) fn end_all(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
    }

    fn counter(&self, key: &CacheKey) -> &AtomicU64 {
        // The remainder is below the number of counters.
        let place = self.hasher.hash_one(key) % self.counters.len() as u64;
        &self.counters[usize::try_from(place).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalidation_ends_what_began_before_it() {
        let generations = KeyGenerations::new();
        let (one, other) = ("http://a/1", "http://a/2");
        let (one, other) = (CacheKey::from_url(one), CacheKey::from_url(other));
        let (first, second) = (generations.of(&one), generations.of(&other));
        generations.end(&one);
        assert!(!generations.is_current(&one, first));
        assert!(generations.is_current(&one, generations.of(&one)));
        generations.end_all();
        assert!(!generations.is_current(&other, second));
    }
}
