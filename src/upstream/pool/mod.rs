//! The connections to one endpoint.
//!
//! A connection belongs to the runtime it was made on, since that runtime's driver watches its socket: each runtime has
//! a shelf of its own, and none takes from another's. With one runtime there is one shelf.

mod checkout;
mod limit;
mod reaper;
mod shelf;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{
    runtime::{self, Handle},
    time::{Instant, timeout_at},
};

#[cfg(feature = "http2")]
pub(super) use self::limit::Waiters;
pub(super) use self::{
    checkout::{Checkout, Lease, Limits},
    limit::Permit,
};
use self::{
    limit::{Found, Limit},
    reaper::Reaper,
    shelf::Shelf,
};
#[cfg(feature = "http2")]
use super::http2::Http2;
use super::{
    connect::{Connector, Versions},
    http1::Http1,
    target::{Scheme, Target},
};
use crate::{
    clock::after,
    error::{Error, Kind},
};

pub(super) struct Pool {
    target: Arc<Target>,
    connector: Connector,
    limits: Limits,
    shelves: Mutex<Vec<(runtime::Id, Shelf)>>,
    open: Option<Arc<Limit>>,
    /// ALPN has chosen HTTP/1.1, so nobody need wait to see what it chooses.
    speaks_http1: AtomicBool,
}

/// What a checkout asks for.
#[derive(Clone, Copy)]
struct Wanted {
    runtime: runtime::Id,
    versions: Versions,
    /// Nothing that was opened before; HTTP/2 connections are shared by those that want a new one at the same time.
    since: Option<Instant>,
}

impl Pool {
    pub(super) fn new(target: Arc<Target>, connector: Connector, limits: Limits) -> Self {
        let speaks_http1 = AtomicBool::new(matches!(target.scheme, Scheme::Http | Scheme::Unix));
        let open = limits.max_open.map(|max| Arc::new(Limit::new(max)));
        Self {
            target,
            connector,
            limits,
            shelves: Mutex::default(),
            open,
            speaks_http1,
        }
    }

    /// An idle connection that is still open, a stream on a shared one, or a new connection; nothing but a new one if
    /// it has to be `fresh`.
    ///
    /// # Errors
    ///
    /// `Unreachable`, `ConnectTimeout`, or `Busy` when no connection may be opened and none became free in the time for
    /// connecting. The wait for another request's connecting counts into it.
    pub(super) async fn checkout(
        self: &Arc<Self>,
        versions: Versions,
        fresh: bool,
    ) -> Result<Checkout, Error> {
        let Ok(runtime) = Handle::try_current() else {
            return Err(Error::new(Kind::Unreachable)
                .with("no tokio runtime")
                .at(&self.target.name));
        };
        let wanted = Wanted {
            runtime: runtime.id(),
            versions,
            since: fresh.then(Instant::now),
        };
        if let Some(ready) = self.unclaimed(wanted) {
            return Ok(ready);
        }
        // Boxed, because few requests connect, and all would have the room for it in their futures.
        Box::pin(self.connect(wanted)).await
    }

    async fn connect(self: &Arc<Self>, wanted: Wanted) -> Result<Checkout, Error> {
        let deadline = after(Instant::now(), self.limits.connect_timeout);
        if self.speaks_http1.load(Relaxed) || wanted.versions == Versions::Http1 {
            return self.open(wanted, deadline).await;
        }
        // One at a time until it is known what the endpoint speaks, and one at a time for each HTTP/2 connection, so
        // that many first requests make one.
        let turn = self.shelf(wanted.runtime, |shelf| shelf.turn());
        let Ok(Ok(turn)) = timeout_at(deadline, turn.acquire()).await else {
            return Err(Error::new(Kind::ConnectTimeout).at(&self.target.name));
        };
        if self.speaks_http1.load(Relaxed) {
            drop(turn);
            return self.open(wanted, deadline).await;
        }
        match self.unclaimed(wanted) {
            Some(ready) => Ok(ready),
            None => self.open(wanted, deadline).await,
        }
    }

    /// What is there, can be used, and nobody waits for.
    fn unclaimed(&self, wanted: Wanted) -> Option<Checkout> {
        let contended = self.open.as_ref().is_some_and(|open| open.is_contended());
        match contended {
            true => self.stream(wanted),
            false => self.ready(wanted),
        }
    }

    /// What is there and can be used.
    fn ready(&self, wanted: Wanted) -> Option<Checkout> {
        // What idles has been used before, so it is of no use to those that want a new one.
        while wanted.since.is_none() {
            let Some(mut http1) = self.shelf(wanted.runtime, |shelf| shelf.pop()) else {
                break;
            };
            if http1.is_usable() {
                return Some(Checkout::Http1 {
                    http1,
                    reused: true,
                });
            }
        }
        self.stream(wanted)
    }

    fn stream(&self, wanted: Wanted) -> Option<Checkout> {
        #[cfg(feature = "http2")]
        if wanted.versions == Versions::All {
            let full = self.open.as_ref().is_some_and(|open| open.is_full());
            let stream = self.shelf(wanted.runtime, |shelf| shelf.stream(full, wanted.since))?;
            return Some(Checkout::Http2 {
                stream,
                reused: true,
            });
        }
        let _ = wanted;
        None
    }

    /// A new connection, or what becomes ready while all places are taken.
    async fn open(self: &Arc<Self>, wanted: Wanted, deadline: Instant) -> Result<Checkout, Error> {
        let Wanted {
            runtime, versions, ..
        } = wanted;
        let permit = match &self.open {
            None => None,
            Some(limit) => {
                let found = limit.wait(deadline, || self.ready(wanted), || self.evict());
                match found.await {
                    Some(Found::Place(permit)) => Some(permit),
                    Some(Found::Ready(ready)) => return Ok(ready),
                    None => return Err(Error::new(Kind::Busy).at(&self.target.name)),
                }
            }
        };
        self.keep_reaper(runtime);
        let connected = self
            .connector
            .connect(&self.target, versions, deadline)
            .await?;
        let lifetime = self
            .limits
            .max_lifetime
            .map(|most| most - (most / 10).mul_f64(fastrand::f64()));
        let expires = lifetime.map(|lifetime| after(Instant::now(), lifetime));
        let lease = Lease {
            runtime,
            expires,
            permit,
        };
        #[cfg(feature = "http2")]
        if connected.http2 {
            let http2 =
                Http2::handshake(connected.io, lease, self.limits.http2, self.limits.bounds);
            let http2 = match timeout_at(deadline, http2).await {
                Ok(http2) => http2.map_err(|error| error.at(&self.target.name))?,
                Err(_) => return Err(Error::new(Kind::ConnectTimeout).at(&self.target.name)),
            };
            let stream = http2.stream();
            self.shelf(runtime, |shelf| shelf.share(http2));
            return Ok(Checkout::Http2 {
                stream,
                reused: false,
            });
        }
        // An upgrade offers nothing else, so what it was given tells nothing.
        if versions == Versions::All {
            self.speaks_http1.store(true, Relaxed);
        }
        let waker = self.shelf(runtime, |shelf| shelf.waker());
        let http1 = Http1::handshake(connected.io, lease, waker, self.limits.bounds).await;
        Ok(Checkout::Http1 {
            http1: http1.map_err(|error| error.at(&self.target.name))?,
            reused: false,
        })
    }

    /// Takes a connection back, unless it has ended, is too old, or there are enough.
    pub(super) fn put(&self, mut http1: Http1) {
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

    /// Closes a connection that nothing uses, the one that has idled longest on its shelf. True if there was one.
    fn evict(&self) -> bool {
        let evicted = self.lock().iter_mut().find_map(|(_, shelf)| shelf.evict());
        evicted.is_some()
    }

    fn shelf<T>(&self, runtime: runtime::Id, then: impl FnOnce(&mut Shelf) -> T) -> T {
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
    fn keep_reaper(self: &Arc<Self>, runtime: runtime::Id) {
        if let Some(bell) = self.shelf(runtime, |shelf| shelf.lacks_reaper()) {
            let reaper = Reaper::spawn(self, runtime, bell);
            self.shelf(runtime, |shelf| shelf.set_reaper(reaper));
        }
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
