//! [`Clusters`], the map.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::lease::{ClusterCount, ClusterLease};

/// Named services that can be added and removed while they serve requests. Clones are the same map.
///
/// See the [module docs](crate::clusters).
pub struct Clusters<S>(Arc<RwLock<ClusterMap<S>>>);

/// Locked for one look-up per request, and never while code of the user runs: services are cloned and dropped outside
/// of it. A lock in place of a snapshot, so that a map of very many tenants is not copied for each that comes.
type ClusterMap<S> = HashMap<Arc<str>, Arc<ClusterEntry<S>>>;

/// A service, and what counts its requests.
struct ClusterEntry<S> {
    service: S,
    count: ClusterCount,
}

impl<S> Clusters<S> {
    /// Returns an empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a cluster. One of the same name is replaced, in one step, and returned: requests that it has finish there.
    pub fn insert(&self, name: impl Into<Arc<str>>, service: S) -> Option<RemovedCluster> {
        let cluster = Arc::new(ClusterEntry {
            service,
            count: ClusterCount::default(),
        });
        let replaced = self.write().insert(name.into(), cluster);
        replaced.map(|cluster| RemovedCluster::new(&cluster))
    }

    /// Removes a cluster, so that it gets no new requests. Those in flight finish. Returns `None` if there is no
    /// cluster of this name.
    #[must_use = "to be waited for, or to be dropped"]
    pub fn remove(&self, name: &str) -> Option<RemovedCluster> {
        let removed = self.write().remove(name);
        removed.map(|cluster| RemovedCluster::new(&cluster))
    }

    /// Returns a clone of a cluster's service, such as to reach its [`handle`](crate::LoadBalance::handle). Requests
    /// that are sent through the clone are not counted here. Returns `None` if there is no cluster of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<S>
    where
        S: Clone,
    {
        let cluster = self.read().get(name).cloned()?;
        Some(cluster.service.clone())
    }

    /// Returns whether there is a cluster of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.read().contains_key(name)
    }

    /// Returns the names of all clusters, in no order.
    #[must_use]
    pub fn names(&self) -> Vec<Arc<str>> {
        self.read().keys().cloned().collect()
    }

    /// Returns how many requests are in flight at a cluster, or `None` if there is no cluster of this name.
    #[must_use]
    pub fn in_flight(&self, name: &str) -> Option<usize> {
        self.read()
            .get(name)
            .map(|cluster| cluster.count.in_flight())
    }

    /// Returns a clone of a cluster's service, and counts a request there.
    pub(super) fn lease(&self, name: &str) -> Option<(S, ClusterLease)>
    where
        S: Clone,
    {
        // Counted under the lock: once it has been removed, no request comes that is not counted.
        let (cluster, lease) = {
            let map = self.read();
            let cluster = map.get(name)?;
            (cluster.clone(), cluster.count.lease())
        };
        Some((cluster.service.clone(), lease))
    }

    /// Locks the map for a look-up. Nothing panics under the lock.
    fn read(&self) -> RwLockReadGuard<'_, ClusterMap<S>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the map for a change.
    fn write(&self) -> RwLockWriteGuard<'_, ClusterMap<S>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

// Not derived: that would require `S: Default`.
impl<S> Default for Clusters<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S> Clone for Clusters<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> fmt::Debug for Clusters<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// A cluster that has been removed or replaced, and drains: it gets no new requests, and those in flight finish.
///
/// Dropping this value has no effect on them. It does not keep the cluster's connections open.
#[derive(Clone, Debug)]
pub struct RemovedCluster(ClusterCount);

impl RemovedCluster {
    fn new<S>(cluster: &ClusterEntry<S>) -> Self {
        Self(cluster.count.clone())
    }

    /// Returns how many requests are still in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    /// Completes when no request is in flight: every response body has ended or was dropped, and every tunnel is
    /// closed.
    ///
    /// There is no time limit. To stop waiting for a response that does not end, put a timeout around this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect; it may be awaited again, and by several tasks.
    pub async fn finished(&self) {
        self.0.idle().await;
    }
}
