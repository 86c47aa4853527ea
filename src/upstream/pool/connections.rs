//! The pool itself.

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

use super::{
    checkout::{Checkout, Limits},
    reaper::{Bell, Reaper, Sweep},
    shelf::Shelf,
};
#[cfg(feature = "http2")]
use crate::upstream::http2::Http2;
use crate::{
    clock::after,
    error::{Error, ErrorKind},
    limit::{Found, Permits},
    upstream::{
        connect::{Connector, Versions},
        http1::Http1,
        lease::{Home, Lease},
        target::{Scheme, Target},
    },
};

pub(in crate::upstream) struct Pool {
    target: Arc<Target>,
    connector: Connector,
    limits: Limits,
    shelves: Mutex<Vec<(runtime::Id, Shelf)>>,
    open: Option<Arc<Permits>>,
    /// ALPN has chosen HTTP/1.1, so nobody need wait to see what it chooses.
    speaks_http1: AtomicBool,
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

    /// An idle connection that is still open, a stream on a shared one, or a new connection; nothing but a new one if
    /// it has to be `fresh`.
    ///
    /// # Errors
    ///
    /// Those of [`Connector::connect`], or `MaxConnections` when no connection may be opened and none became free in the time for
    /// connecting. The wait for another request's connecting counts into it.
    pub(in crate::upstream) async fn checkout(
        self: &Arc<Self>,
        versions: Versions,
        fresh: bool,
    ) -> Result<Checkout, Error> {
        let Ok(runtime) = Handle::try_current() else {
            return Err(Error::new(ErrorKind::Connect)
                .with("no tokio runtime")
                .at(&self.target.name));
        };
        let runtime = runtime.id();
        if !fresh {
            if let Some(ready) = self.unclaimed(runtime, versions) {
                return Ok(ready);
            }
        }
        // Boxed, because few requests connect, and all would have the room for it in their futures.
        Box::pin(self.connect(runtime, versions, fresh)).await
    }

    async fn connect(
        self: &Arc<Self>,
        runtime: runtime::Id,
        versions: Versions,
        fresh: bool,
    ) -> Result<Checkout, Error> {
        let deadline = after(Instant::now(), self.limits.connect_timeout);
        if fresh || self.speaks_http1.load(Relaxed) || versions == Versions::Http1 {
            return self.open(runtime, versions, fresh, deadline).await;
        }
        // One at a time until it is known what the endpoint speaks, and one at a time for each HTTP/2 connection, so
        // that many first requests make one.
        let turn = self.shelf(runtime, |shelf| shelf.turn());
        let Ok(Ok(turn)) = timeout_at(deadline, turn.acquire()).await else {
            return Err(Error::new(ErrorKind::ConnectTimeout).at(&self.target.name));
        };
        if self.speaks_http1.load(Relaxed) {
            drop(turn);
            return self.open(runtime, versions, fresh, deadline).await;
        }
        match self.unclaimed(runtime, versions) {
            Some(ready) => Ok(ready),
            None => self.open(runtime, versions, fresh, deadline).await,
        }
    }

    /// What is there, can be used, and is not waited for.
    fn unclaimed(&self, runtime: runtime::Id, versions: Versions) -> Option<Checkout> {
        let contended = self.open.as_ref().is_some_and(|open| open.is_contended());
        match contended {
            true => self.stream(runtime, versions),
            false => self.ready(runtime, versions),
        }
    }

    /// What is there and can be used.
    fn ready(&self, runtime: runtime::Id, versions: Versions) -> Option<Checkout> {
        while let Some(mut http1) = self.shelf(runtime, |shelf| shelf.pop()) {
            if http1.is_usable() {
                return Some(Checkout::Http1 {
                    http1,
                    reused: true,
                });
            }
        }
        self.stream(runtime, versions)
    }

    /// A stream on a connection that is shared.
    fn stream(&self, runtime: runtime::Id, versions: Versions) -> Option<Checkout> {
        #[cfg(feature = "http2")]
        if versions == Versions::All {
            let full = self.open.as_ref().is_some_and(|open| open.is_full());
            let stream = self.shelf(runtime, |shelf| shelf.stream(full))?;
            return Some(Checkout::Http2 {
                stream,
                reused: true,
            });
        }
        let _ = (runtime, versions);
        None
    }

    async fn open(
        self: &Arc<Self>,
        runtime: runtime::Id,
        versions: Versions,
        fresh: bool,
        deadline: Instant,
    ) -> Result<Checkout, Error> {
        let ready = || (!fresh).then(|| self.ready(runtime, versions)).flatten();
        let permit = match &self.open {
            None => None,
            Some(limit) => match limit.wait(deadline, ready, || self.evict()).await {
                Some(Found::Place(permit)) => Some(permit),
                Some(Found::Ready(ready)) => return Ok(ready),
                None => return Err(Error::new(ErrorKind::MaxConnections).at(&self.target.name)),
            },
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
                Err(_) => return Err(Error::new(ErrorKind::ConnectTimeout).at(&self.target.name)),
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
        let home = Arc::downgrade(self);
        let http1 = Http1::handshake(connected.io, lease, waker, home, self.limits.bounds).await;
        Ok(Checkout::Http1 {
            http1: http1.map_err(|error| error.at(&self.target.name))?,
            reused: false,
        })
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
