//! How many connections a client has, and has had.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::telemetry::OpenConnection;

/// Counts the connections of one client and its clones.
#[derive(Debug, Default)]
pub(super) struct ConnectionCounts {
    opened: AtomicU64,
    closed: AtomicU64,
    reused: AtomicU64,
}

impl ConnectionCounts {
    /// Counts a connection that has been opened, until what is returned is dropped.
    pub(super) fn opened(self: &Arc<Self>, measured: OpenConnection) -> CountedConnection {
        self.opened.fetch_add(1, Relaxed);
        CountedConnection {
            counts: self.clone(),
            measured,
        }
    }

    /// Counts a request for which a connection was there.
    pub(super) fn reused(&self) {
        self.reused.fetch_add(1, Relaxed);
    }

    /// Returns the number of connections that are open, that have been opened, and of requests for which one was there.
    #[cfg(feature = "status")]
    pub(super) fn get(&self) -> (u64, u64, u64) {
        // In this order, so that no more seem closed than were opened.
        let closed = self.closed.load(Relaxed);
        let opened = self.opened.load(Relaxed);
        let open = opened.saturating_sub(closed);
        (open, opened, self.reused.load(Relaxed))
    }
}

/// A connection that is open for as long as this exists.
#[derive(Debug)]
pub(super) struct CountedConnection {
    counts: Arc<ConnectionCounts>,
    measured: OpenConnection,
}

impl Deref for CountedConnection {
    type Target = OpenConnection;

    fn deref(&self) -> &OpenConnection {
        &self.measured
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.counts.closed.fetch_add(1, Relaxed);
    }
}
