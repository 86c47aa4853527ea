//! Purges and counts, for the application.

use std::{fmt, sync::Arc};

use super::{
    counts::CacheCounts,
    memory::MemoryStore,
    shared::CacheState,
    store::{Purge, Store},
};
use crate::error::BoxError;

/// Removes responses from a cache, and tells how it does. Clones are handles of the same cache.
///
/// A response that is being stored when a purge begins is not stored, but still goes to those who have asked for it.
///
/// # Errors
///
/// All purges return the store's error. That of [`MemoryStore`] has none.
///
/// # Cancel safety
///
/// A purge whose future is dropped half way may have removed a part. [`MemoryStore`] does all of it at once.
pub struct CacheHandle<St = MemoryStore>(Arc<CacheState<St>>);

impl<St: Store> CacheHandle<St> {
    pub(super) fn new(state: Arc<CacheState<St>>) -> Self {
        Self(state)
    }

    /// Removes all responses for a URL, as clients write it: `http://example.com/a?b`. Returns the number of keys that
    /// are gone.
    ///
    /// # Errors
    ///
    /// Returns the store's error.
    pub async fn purge_url(&self, url: &str) -> Result<usize, BoxError> {
        self.0.purge(&Purge::Url(url.to_owned())).await
    }

    /// Removes all responses for URLs that begin with `prefix`: `http://example.com/news/`.
    ///
    /// # Errors
    ///
    /// Returns the store's error.
    pub async fn purge_prefix(&self, prefix: &str) -> Result<usize, BoxError> {
        self.0.purge(&Purge::Prefix(prefix.to_owned())).await
    }

    /// Removes all responses whose `Cache-Groups` names a group (RFC 9875), of all origins.
    ///
    /// # Errors
    ///
    /// Returns the store's error.
    pub async fn purge_group(&self, group: &str) -> Result<usize, BoxError> {
        let group = group.to_owned();
        self.0
            .purge(&Purge::Group {
                origin: None,
                group,
            })
            .await
    }

    /// Removes all responses.
    ///
    /// # Errors
    ///
    /// Returns the store's error.
    pub async fn clear(&self) -> Result<usize, BoxError> {
        self.0.purge(&Purge::All).await
    }

    /// Returns what the cache has done so far, and how full it is.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        self.0.counts()
    }
}

impl<St> Clone for CacheHandle<St> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<St: Store> fmt::Debug for CacheHandle<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheHandle").field(&self.counts()).finish()
    }
}
