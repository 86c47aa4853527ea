//! What a cache has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts requests. Each of them is counted once, as a hit, a miss or passed on.
#[derive(Debug, Default)]
pub(super) struct CacheCounters {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) passed: AtomicU64,
    pub(super) collapsed: AtomicU64,
    pub(super) validated: AtomicU64,
    pub(super) served_stale: AtomicU64,
    pub(super) stored: AtomicU64,
    pub(super) store_errors: AtomicU64,
}

/// How a cache has done so far, and how full it is: see [`CacheHandle::counts`](super::CacheHandle::counts).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheCounts {
    /// Requests that were answered from the store without asking the origin.
    pub hits: u64,
    /// Requests that were forwarded, and might have been answered from the store. Those that were collapsed or
    /// validated are among them.
    pub misses: u64,
    /// Requests that were passed on without a look into the store.
    pub passed: u64,
    /// Requests that got the response to the request of another client.
    pub collapsed: u64,
    /// Responses that the origin has confirmed by a 304.
    pub validated: u64,
    /// Requests that were answered by a stale response, while it was validated or because the origin failed.
    pub served_stale: u64,
    /// Responses that were stored.
    pub stored: u64,
    /// Operations of the store that have failed.
    pub store_errors: u64,
    /// The number of keys in the store.
    pub entries: usize,
    /// The bytes in the store.
    pub bytes: u64,
    /// The bytes of responses that are being stored.
    pub bytes_in_flight: usize,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl CacheCounters {
    /// Returns the counts, without the usage.
    pub(super) fn read(&self) -> CacheCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheCounts {
            hits: read(&self.hits),
            misses: read(&self.misses),
            passed: read(&self.passed),
            collapsed: read(&self.collapsed),
            validated: read(&self.validated),
            served_stale: read(&self.served_stale),
            stored: read(&self.stored),
            store_errors: read(&self.store_errors),
            ..CacheCounts::default()
        }
    }
}
