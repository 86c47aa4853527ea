//! Where responses are kept.

use std::{fmt, sync::Arc};

use super::{key::CacheKey, rules::split_origin, stored::StoredResponse};
use crate::error::BoxError;

/// Keeps responses by key: [`MemoryStore`](super::MemoryStore), a disk, another server.
///
/// A method that fails, or that returns what cannot be used, is no failure of the request: it counts as a miss, and is
/// in [`CacheCounts::store_errors`](super::CacheCounts::store_errors). A request waits for [`get`](Self::get) for as
/// long as that takes: a store that may hang has to have a timeout of its own.
///
/// # Cancel safety
///
/// The futures are dropped half way when the client goes, or when the cache is dropped. A store that has then stored
/// only a part must not return it.
pub trait Store: Send + Sync + 'static {
    /// Returns all responses that are stored under a key.
    fn get(
        &self,
        key: &CacheKey,
    ) -> impl Future<Output = Result<Option<StoredVariants>, BoxError>> + Send;

    /// Stores a response. It takes the place of the one for the same requests, as [`StoredVariants::with`] decides, and
    /// of the oldest if there are more than `max_variants`.
    fn put(
        &self,
        key: &CacheKey,
        response: Arc<StoredResponse>,
        max_variants: usize,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Removes all responses that are stored under a key.
    fn remove(&self, key: &CacheKey) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Removes all responses that a purge is about. Returns the number of keys that are gone.
    fn purge(&self, purge: &Purge) -> impl Future<Output = Result<usize, BoxError>> + Send;

    /// Returns the number of keys, and the bytes that all responses occupy, as far as they are known.
    fn usage(&self) -> StoreUsage;
}

/// How full a [`Store`] is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreUsage {
    /// The number of keys.
    pub entries: usize,
    /// The number of bytes.
    pub bytes: u64,
}

impl StoreUsage {
    /// Returns a usage.
    #[must_use]
    pub fn new(entries: usize, bytes: u64) -> Self {
        Self { entries, bytes }
    }
}

/// Which responses are removed from a [`Store`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purge {
    /// Those for a URL, whatever was added to their keys.
    Url(String),
    /// Those for all URLs that begin like this.
    Prefix(String),
    /// Those of a group (RFC 9875), of one origin or, without one, of all.
    Group {
        /// Scheme and host: `http://example.com`.
        origin: Option<String>,
        /// The name of the group.
        group: String,
    },
    /// All.
    All,
}

impl Purge {
    /// Returns whether a response is one of those that are removed.
    #[must_use]
    pub fn is_about(&self, key: &CacheKey, response: &StoredResponse) -> bool {
        match self {
            Self::Url(url) => key.url() == url,
            Self::Prefix(prefix) => key.url().starts_with(prefix.as_str()),
            Self::Group { origin, group } => {
                let same_origin = origin.as_ref().is_none_or(|origin| {
                    split_origin(key.url()).is_some_and(|(own, _)| own == origin)
                });
                same_origin && response.groups().contains(group)
            }
            Self::All => true,
        }
    }
}

/// The responses of one key, which differ in the requests that they are for. The newest comes first.
#[derive(Clone)]
pub struct StoredVariants(Arc<[Arc<StoredResponse>]>);

impl StoredVariants {
    /// Returns one response as the only one.
    #[must_use]
    pub fn one(response: Arc<StoredResponse>) -> Self {
        Self(Arc::new([response]))
    }

    /// Adds a response in the place of the one for the same requests, and leaves the oldest out if there are more than
    /// `max`.
    #[must_use]
    pub fn with(&self, response: &Arc<StoredResponse>, max: usize) -> Self {
        let others = self
            .0
            .iter()
            .filter(|other| !other.is_replaced_by(response));
        let all = std::iter::once(response).chain(others);
        Self(all.take(max.max(1)).cloned().collect())
    }

    /// Leaves responses out. `None` if no other is left.
    #[must_use]
    pub fn without(&self, goes: impl Fn(&StoredResponse) -> bool) -> Option<Self> {
        let left: Arc<[_]> = self
            .0
            .iter()
            .filter(|response| !goes(response))
            .cloned()
            .collect();
        (!left.is_empty()).then_some(Self(left))
    }

    /// Returns them, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StoredResponse>> {
        self.0.iter()
    }

    /// Returns the number of bytes that they occupy.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.iter().map(|response| response.size()).sum()
    }
}

impl FromIterator<Arc<StoredResponse>> for StoredVariants {
    fn from_iter<I: IntoIterator<Item = Arc<StoredResponse>>>(responses: I) -> Self {
        Self(responses.into_iter().collect())
    }
}

impl fmt::Debug for StoredVariants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter()).finish()
    }
}
