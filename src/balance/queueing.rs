//! [`Queueing`]: the queue of a cluster, for requests that find all its endpoints full.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use http::Request;

use crate::{body::Body, limit::Queue};

/// A user's function from a request to the hash of its key.
type QueueKey = Arc<dyn Fn(&Request<Body>) -> u64 + Send + Sync>;

/// How requests wait for room.
#[derive(Clone)]
pub(super) struct QueueSettings {
    /// How many may wait. 0 is no queue.
    pub(super) most: usize,
    /// For how long.
    pub(super) deadline: Duration,
    /// What the requests of one lane have in common. `None` is one lane for all.
    pub(super) key: Option<QueueKey>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            most: 0,
            deadline: Duration::from_secs(1),
            key: None,
        }
    }
}

impl QueueSettings {
    /// Has requests queue by a key.
    pub(super) fn by<K: Hash>(
        &mut self,
        key: impl Fn(&Request<Body>) -> K + Send + Sync + 'static,
    ) {
        self.key = Some(Arc::new(move |request| {
            // Keyed by constants: a client that makes two keys collide shares its own lane with another of its own
            // making, and nothing else.
            let mut hasher = DefaultHasher::new();
            key(request).hash(&mut hasher);
            hasher.finish()
        }));
    }

    /// Returns the queue of a cluster, or `None` if there is none.
    pub(super) fn build(&self) -> Option<Queueing> {
        let queue = Queue::new(NonZeroUsize::new(self.most)?);
        Some(Queueing {
            queue: Arc::new(queue),
            deadline: self.deadline,
            key: self.key.clone(),
        })
    }
}

impl fmt::Debug for QueueSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueSettings")
            .field("most", &self.most)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The queue of a cluster.
pub(super) struct Queueing {
    queue: Arc<Queue>,
    deadline: Duration,
    key: Option<QueueKey>,
}

impl Queueing {
    /// Returns the queue.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Returns whether requests wait, which have to be served before others.
    pub(super) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Returns for how long a request may wait.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Returns the lane of a request. Runs code of the user.
    pub(super) fn key(&self, request: &Request<Body>) -> u64 {
        self.key.as_ref().map_or(0, |key| key(request))
    }
}
