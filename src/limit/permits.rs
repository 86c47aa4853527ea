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
pub(crate) struct PermitQueue(Arc<Permits>);

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
    /// - *Head of the line*: looks for a place; for what is `ready`; for what `evict` can close, since a connection
    ///   that
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
    pub(crate) fn waiters(&self) -> PermitQueue {
        PermitQueue(self.0.clone())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, AcqRel);
        self.0.tell();
    }
}

#[cfg(feature = "http2")]
impl PermitQueue {
    pub(crate) fn tell(&self) {
        self.0.tell();
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, pin::pin, time::Duration};

    use futures_util::{future::join, poll};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    /// Waits for a place, finding nothing ready and nothing to close.
    async fn place(limit: &Arc<Permits>) -> Option<Permit> {
        match limit.wait(soon(), || None::<()>, || false).await {
            Some(Found::Place(permit)) => Some(permit),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_given_in_the_order_of_arrival() {
        let limit = Arc::new(Permits::new(1));
        let permit = place(&limit).await;
        assert!(permit.is_some() && !limit.is_contended());
        let (mut one, mut two, mut three) = (
            Box::pin(place(&limit)),
            Box::pin(place(&limit)),
            Box::pin(place(&limit)),
        );
        assert!(poll!(&mut one).is_pending() && limit.is_contended());
        assert!(poll!(&mut two).is_pending() && poll!(&mut three).is_pending());
        // Given up while it was told that there is a place.
        drop(permit);
        drop(one);
        assert!(poll!(&mut three).is_pending(), "two came before");
        let permit = two.await;
        assert!(permit.is_some());
        assert!(poll!(&mut three).is_pending());
        drop(permit);
        assert!(three.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_deadline() {
        let limit = Arc::new(Permits::new(1));
        let _permit = place(&limit).await;
        let start = Instant::now();
        let (head, second) = join(place(&limit), place(&limit)).await;
        assert!(head.is_none() && second.is_none());
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        assert!(!limit.is_contended());
    }

    /// What comes to idle after the wait has begun is closed too, and one connection for one place.
    #[tokio::test(start_paused = true)]
    async fn what_idles_makes_way() {
        let limit = Arc::new(Permits::new(2));
        let (first, second) = (
            Cell::new(place(&limit).await),
            Cell::new(place(&limit).await),
        );
        let idle = Cell::new(false);
        let closed = Cell::new(0);
        let evict = || {
            closed.set(closed.get() + usize::from(idle.get()));
            idle.get()
        };
        let mut found = pin!(limit.wait(soon(), || None::<()>, evict));
        assert!(poll!(&mut found).is_pending());
        idle.set(true);
        limit.tell();
        assert!(poll!(&mut found).is_pending());
        limit.tell();
        assert!(poll!(&mut found).is_pending());
        assert_eq!(closed.get(), 1, "it ends a little later");
        drop(first.take());
        assert!(matches!(found.await, Some(Found::Place(_))));
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_needs_no_place() {
        let limit = Arc::new(Permits::new(1));
        let _permit = place(&limit).await;
        let ready = Cell::new(None);
        let mut found = pin!(limit.wait(soon(), || ready.take(), || false));
        assert!(poll!(&mut found).is_pending());
        ready.set(Some("connection"));
        limit.tell();
        assert!(matches!(found.await, Some(Found::Ready("connection"))));
    }
}
