//! How many connections may be open at once, and who gets the next place.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire},
};

use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout_at},
};

/// Counts open connections, and has those that want another stand in a line.
#[derive(Debug)]
pub(crate) struct Permits {
    max: usize,
    open: AtomicUsize,
    /// The head of the line has it. It is fair: first come, first served, whatever the runtime.
    turn: Semaphore,
    /// Tells the head of the line that it may find something now. One at a time waits for it, so that no notification
    /// goes to one that cannot use it; and it is kept while the head does not wait.
    changed: Notify,
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

/// Those that wait for a connection.
#[derive(Clone, Debug)]
pub(crate) struct Waiters(Arc<Permits>);

/// What a wait ended with.
pub(crate) enum Found<T> {
    /// A place for a new connection.
    Place(Permit),
    /// A connection that is there.
    Ready(T),
}

impl Permits {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            open: AtomicUsize::new(0),
            turn: Semaphore::new(1),
            changed: Notify::new(),
        }
    }

    #[cfg(feature = "http2")]
    pub(crate) fn is_full(&self) -> bool {
        self.open.load(Acquire) >= self.max
    }

    /// Whether somebody waits: then what comes free is for the head of the line.
    pub(crate) fn is_contended(&self) -> bool {
        self.turn.available_permits() == 0
    }

    /// Waits for a place, or for a connection that `ready` finds. `None` when neither came by the deadline.
    ///
    /// - *In line*: others came first.
    /// - *Head of the line*: looks for a place; for what is `ready`; for what `evict` can close, since a connection that
    ///   idles on another runtime, or speaks another version, is of use for its place alone.
    /// - *Waiting*: there was nothing. Looks again when a connection has ended, or has come to idle.
    ///
    /// Whatever comes free is of use to the head of the line, so nobody behind it could do more with it.
    pub(crate) async fn wait<T>(
        self: &Arc<Self>,
        deadline: Instant,
        ready: impl Fn() -> Option<T>,
        evict: impl Fn() -> bool,
    ) -> Option<Found<T>> {
        let _turn = timeout_at(deadline, self.turn.acquire()).await.ok()?.ok()?;
        let mut evicted = false;
        loop {
            if let Some(permit) = self.try_acquire() {
                return Some(Found::Place(permit));
            }
            if let Some(ready) = ready() {
                return Some(Found::Ready(ready));
            }
            if !evicted {
                // One is enough. An HTTP/2 connection gives its place back a little later, and tells.
                evicted = evict();
                if evicted {
                    continue;
                }
            }
            timeout_at(deadline, self.changed.notified()).await.ok()?;
        }
    }

    fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let more = |open: usize| (open < self.max).then_some(open + 1);
        self.open
            .fetch_update(AcqRel, Acquire, more)
            .is_ok()
            .then(|| Permit(self.clone()))
    }

    /// A connection has ended, or can be used or closed.
    pub(crate) fn tell(&self) {
        self.changed.notify_one();
    }
}

impl Permit {
    #[cfg(feature = "http2")]
    pub(crate) fn waiters(&self) -> Waiters {
        Waiters(self.0.clone())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, AcqRel);
        self.0.tell();
    }
}

#[cfg(feature = "http2")]
impl Waiters {
    pub(crate) fn tell(&self) {
        self.0.tell();
    }
}
