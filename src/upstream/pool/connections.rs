//! The pool: shelves by runtime, the permits of open connections, and what is known of the endpoint.
//!
//! One mutex guards all shelves. It is held for a few instructions at a time and never across an await. Connections are
//! taken out or returned under it, and polled or closed after it is released, since closing is a system call and a
//! connection that is dropped may lock something else. The reaper's sweep is the exception: it polls idle connections
//! where they are.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use tokio::{runtime, time::Instant};

use super::{
    checkout::{Checkout, Demand, Limits},
    reaper::{Bell, Reaper, Sweep},
    shelf::Shelf,
};
#[cfg(feature = "status")]
use crate::telemetry::PoolReport;
#[cfg(feature = "http2")]
use crate::upstream::connect::Versions;
use crate::{
    limit::Permits,
    record::EndpointId,
    telemetry::{CloseCause, EndpointMetrics, PoolMetrics},
    upstream::{
        connect::Connector,
        connection_counts::ConnectionCounts,
        http1::Http1,
        lease::Home,
        target::{Scheme, Target},
    },
};

/// The connections of one client and its clones.
///
/// Shared by an `Arc`; idle connections and the reaper refer back to it weakly. When the last client is dropped, idle
/// connections close at once, and those in use close at the end of their exchange.
pub(in crate::upstream) struct Pool {
    /// The endpoint.
    pub(super) target: Arc<Target>,
    /// Opens connections.
    pub(super) connector: Connector,
    /// What users set.
    pub(super) limits: Limits,
    /// A shelf for each runtime that has asked for a connection. A list, because there are few runtimes, mostly one.
    shelves: Mutex<Vec<(runtime::Id, Shelf)>>,
    /// The permits of open connections, if their number is limited.
    pub(super) open: Option<Arc<Permits>>,
    /// Whether the endpoint is known to speak HTTP/1.1 alone: its scheme or a setting implies it, or
    /// ALPN has chosen it.
    ///
    /// Until then, requests wait for one another so that many first requests open one connection and not many. Never
    /// reset: an endpoint that learns HTTP/2 later is spoken to over HTTP/2 if ALPN chooses it, but its first requests
    /// do not wait.
    pub(super) speaks_http1: AtomicBool,
    /// How many connections there are.
    pub(in crate::upstream) counts: Arc<ConnectionCounts>,
    /// The metrics of the connections.
    pub(in crate::upstream) metrics: PoolMetrics,
    /// Those of the attempts that no balancer counts.
    pub(in crate::upstream) attempts: EndpointMetrics,
}

impl Pool {
    /// Returns a pool without connections, whose metrics are those of `counted`. Nothing is opened before the first
    /// request.
    pub(in crate::upstream) fn new(
        target: Arc<Target>,
        connector: Connector,
        limits: Limits,
        counted: &Arc<EndpointId>,
    ) -> Self {
        let is_plain = matches!(target.scheme, Scheme::Http | Scheme::Unix);
        let speaks_http1 = AtomicBool::new(is_plain || connector.tells_client());
        let open = limits.max_open.map(|max| Arc::new(Permits::new(max)));
        Self {
            counts: Arc::default(),
            metrics: PoolMetrics::of_pool(counted.name()),
            attempts: EndpointMetrics::of_endpoint(counted),
            target,
            connector,
            limits,
            shelves: Mutex::default(),
            open,
            speaks_http1,
        }
    }

    /// Returns a connection that can be used, unless requests wait for one in line.
    ///
    /// While they do, connections that come free belong to the head of the line. Streams of shared connections are
    /// excepted: there is room for all.
    pub(super) fn unclaimed(&self, demand: Demand) -> Option<Checkout> {
        match self.is_contended() {
            true => self.stream(demand),
            false => self.ready(demand),
        }
    }

    /// Returns whether requests wait in line for a connection.
    pub(super) fn is_contended(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_contended())
    }

    /// Returns a connection that can be used now: an idle HTTP/1 connection, or else a stream on a shared one.
    pub(super) fn ready(&self, demand: Demand) -> Option<Checkout> {
        // Idle connections were opened for earlier requests, so they are of no use to a request that wants a new one.
        if demand.since.is_none() {
            if let Some(http1) = self.idle_http1(demand) {
                return Some(Checkout::Http1 {
                    http1,
                    reused: true,
                });
            }
        }
        self.stream(demand)
    }

    /// Returns an idle HTTP/1 connection.
    ///
    /// Those that have expired are closed on the way. One that the endpoint has closed is found by the exchange that
    /// uses it: see `http1/exchange.rs`.
    pub(super) fn idle_http1(&self, demand: Demand) -> Option<Http1> {
        loop {
            // What the endpoint takes for the proxy's own must not carry a client's request.
            let may_share = demand.client.is_none() || !self.connector.tells_client();
            let pop = |shelf: &mut Shelf| shelf.pop(demand.client, may_share);
            let http1 = self.shelf(demand.runtime, pop)?;
            if !http1.has_expired() {
                return Some(http1);
            }
            http1.closes(CloseCause::MaxLifetime);
        }
    }

    /// Returns a stream on a shared connection, if the request can be sent over HTTP/2.
    ///
    /// A connection without room is used only if the limit of open connections permits no other.
    fn stream(&self, demand: Demand) -> Option<Checkout> {
        #[cfg(feature = "http2")]
        if demand.versions == Versions::All {
            let full = self.open.as_ref().is_some_and(|open| open.is_full());
            let stream = self.shelf(demand.runtime, |shelf| shelf.stream(full, demand.since))?;
            return Some(Checkout::Http2 {
                stream,
                reused: true,
            });
        }
        let _ = demand;
        None
    }

    /// Returns how many connections there are, and have been.
    #[cfg(feature = "status")]
    pub(in crate::upstream) fn report(&self) -> PoolReport {
        let (open, opened, reused) = self.counts.get();
        let idle = self.lock().iter().map(|(_, shelf)| shelf.idle()).sum();
        PoolReport {
            open,
            idle,
            opened,
            reused,
        }
    }

    /// Closes a connection that nothing uses: the one of some shelf that has idled longest. Returns whether there was
    /// one.
    ///
    /// Called for a request that can use none of the idle connections, to free a permit.
    pub(super) fn evict(&self) -> bool {
        let evicted = self.lock().iter_mut().find_map(|(_, shelf)| shelf.evict());
        evicted.is_some()
    }

    /// Runs `then` on the shelf of a runtime, with the pool locked. `then` must not lock the pool again.
    pub(super) fn shelf<T>(&self, runtime: runtime::Id, then: impl FnOnce(&mut Shelf) -> T) -> T {
        let mut shelves = self.lock();
        match shelves.iter_mut().find(|(id, _)| *id == runtime) {
            Some((_, shelf)) => then(shelf),
            None => {
                shelves.push((runtime, Shelf::default()));
                let last = shelves.len() - 1;
                then(&mut shelves[last].1)
            }
        }
    }

    /// Locks the shelves. If a holder panicked, they are still lists of connections.
    fn lock(&self) -> MutexGuard<'_, Vec<(runtime::Id, Shelf)>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spawns the reaper of a runtime, unless there is one.
    ///
    /// Not under the lock: a runtime that is shutting down drops the task at once, and the end of the task takes the
    /// lock.
    pub(super) fn keep_reaper(self: &Arc<Self>, runtime: runtime::Id) {
        if let Some(bell) = self.shelf(runtime, |shelf| shelf.lacks_reaper()) {
            let reaper = Reaper::spawn(Arc::downgrade(self) as _, runtime, bell);
            self.shelf(runtime, |shelf| shelf.set_reaper(reaper));
        }
    }
}

impl Home<Http1> for Pool {
    /// Takes an HTTP/1 connection back onto the shelf of its runtime. Called at the end of a response body.
    ///
    /// Closes it instead if it has ended or expired, or if there are enough idle ones.
    fn take_back(&self, mut http1: Http1) {
        if !http1.is_reusable() {
            if let Some(cause) = http1.expiry() {
                http1.closes(cause);
            }
            return;
        }
        let (max_idle, idle_timeout) = (self.limits.max_idle, self.limits.idle_timeout);
        let surplus = self.shelf(http1.runtime(), |shelf| {
            shelf.push(http1, max_idle, idle_timeout)
        });
        // Closed here, after the lock is released.
        drop(surplus);
        if let Some(open) = &self.open {
            open.tell();
        }
    }
}

impl Sweep for Pool {
    /// Closes what has ended, expired or idled for too long. Returns when to look again.
    fn sweep(&self, runtime: runtime::Id) -> Instant {
        let (gone, next) = self.shelf(runtime, |shelf| shelf.sweep(self.limits.idle_timeout));
        // Closed here, after the lock is released.
        drop(gone);
        next
    }

    /// Removes the shelf of a runtime that has shut down, with all its connections: their sockets are watched no
    /// longer.
    ///
    /// The shelf is found by its bell and not by the runtime's id, since the shelf may have been replaced in the
    /// meantime.
    fn leave(&self, bell: &Arc<Bell>) {
        let mut shelves = self.lock();
        let own = |(_, shelf): &(runtime::Id, Shelf)| shelf.is_rung_by(bell);
        let left = shelves
            .iter()
            .position(own)
            .map(|at| shelves.swap_remove(at));
        drop(shelves);
        drop(left);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("target", &self.target.name)
            .field("limits", &self.limits)
            .field(
                "shelves",
                &self
                    .lock()
                    .iter()
                    .map(|(_, shelf)| shelf)
                    .collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}
