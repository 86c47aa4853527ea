//! The pool itself.

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
#[cfg(feature = "http2")]
use crate::upstream::connect::Versions;
use crate::{
    limit::Permits,
    upstream::{
        connect::Connector,
        http1::Http1,
        lease::Home,
        target::{Scheme, Target},
    },
};

pub(in crate::upstream) struct Pool {
    pub(super) target: Arc<Target>,
    pub(super) connector: Connector,
    pub(super) limits: Limits,
    shelves: Mutex<Vec<(runtime::Id, Shelf)>>,
    /// The places of open connections, if there is a limit.
    pub(super) open: Option<Arc<Permits>>,
    /// ALPN has chosen HTTP/1.1, so there is no need to wait and see what it chooses.
    pub(super) speaks_http1: AtomicBool,
}

impl Pool {
    pub(in crate::upstream) fn new(
        target: Arc<Target>,
        connector: Connector,
        limits: Limits,
    ) -> Self {
        let speaks_http1 = AtomicBool::new(matches!(target.scheme, Scheme::Http | Scheme::Unix));
        let open = limits.max_open.map(|max| Arc::new(Permits::new(max)));
        Self {
            target,
            connector,
            limits,
            shelves: Mutex::default(),
            open,
            speaks_http1,
        }
    }

    /// What is there, can be used, and is not waited for.
    pub(super) fn unclaimed(&self, demand: Demand) -> Option<Checkout> {
        let contended = self.open.as_ref().is_some_and(|open| open.is_contended());
        match contended {
            true => self.stream(demand),
            false => self.ready(demand),
        }
    }

    /// What is there and can be used.
    pub(super) fn ready(&self, demand: Demand) -> Option<Checkout> {
        // What idles has been used before, so it is of no use to a request that wants a new connection.
        while demand.since.is_none() {
            let Some(mut http1) = self.shelf(demand.runtime, |shelf| shelf.pop(demand.client))
            else {
                break;
            };
            if http1.is_usable() {
                return Some(Checkout::Http1 {
                    http1,
                    reused: true,
                });
            }
        }
        self.stream(demand)
    }

    /// A stream on a connection that is shared.
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

    /// Closes a connection that nothing uses, the one that has idled longest on its shelf. True if there was one.
    pub(super) fn evict(&self) -> bool {
        let evicted = self.lock().iter_mut().find_map(|(_, shelf)| shelf.evict());
        evicted.is_some()
    }

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

    /// A pool whose holder panicked is still a list of connections.
    fn lock(&self) -> MutexGuard<'_, Vec<(runtime::Id, Shelf)>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that there is a reaper. Not spawned under the lock: a runtime that is shutting down drops the task at
    /// once, and the task's end takes the lock.
    pub(super) fn keep_reaper(self: &Arc<Self>, runtime: runtime::Id) {
        if let Some(bell) = self.shelf(runtime, |shelf| shelf.lacks_reaper()) {
            let reaper = Reaper::spawn(Arc::downgrade(self) as _, runtime, bell);
            self.shelf(runtime, |shelf| shelf.set_reaper(reaper));
        }
    }
}

impl Home<Http1> for Pool {
    /// Takes a connection back, unless it has ended, is too old, or there are enough.
    fn take_back(&self, mut http1: Http1) {
        if !http1.is_reusable() {
            if http1.is_still_sending() {
                http1.send_rest();
            }
            return;
        }
        let max_idle = self.limits.max_idle;
        let surplus = self.shelf(http1.runtime(), |shelf| shelf.push(http1, max_idle));
        // It closes here, after the lock is gone.
        drop(surplus);
        if let Some(open) = &self.open {
            open.tell();
        }
    }
}

impl Sweep for Pool {
    fn sweep(&self, runtime: runtime::Id) -> Instant {
        let (gone, next) = self.shelf(runtime, |shelf| shelf.sweep(self.limits.idle_timeout));
        // They close here, after the lock is gone.
        drop(gone);
        next
    }

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
