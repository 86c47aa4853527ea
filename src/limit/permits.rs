//! Limits the number of open connections, and queues the requests that wait for one.
//!
//! The life of a wait, [`Permits::wait`]:
//!
//! - *Queued*: waits for `turn`, a fair semaphore with one permit, behind requests that arrived earlier.
//! - *Head of the queue*: holds `turn`, and looks for a permit; for a connection that is ready; for an idle connection
//!   to close.
//! - *Waiting*: found none of these, and waits for `changed`. Looks again when a connection has closed or become idle.
//!
//! Only the head of the queue looks, so permits and idle connections go out in order of arrival, and one notification
//! cannot wake many requests to compete for one connection.
//!
//! The count is an atomic and not a second semaphore, because a wait may end without a permit, and because a maximum
//! that a user sets may exceed `Semaphore::MAX_PERMITS`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire},
};

use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout_at},
};

/// Counts open connections up to a maximum, and queues the requests that need another.
///
/// Shared by an `Arc` among the pool and the [`Permit`]s of its connections.
#[derive(Debug)]
pub(crate) struct Permits {
    /// The most connections that may be open, in use or idle.
    max: usize,
    /// How many permits exist now. Never more than `max`.
    open: AtomicUsize,
    /// Held by the head of the queue. Tokio's semaphore is fair, so the queue is in order of arrival on every runtime.
    turn: Semaphore,
    /// Notifies the head of the queue that a permit or a connection may have become free.
    ///
    /// Only the holder of `turn` waits for it, so no notification goes to a request that cannot use it. A notification
    /// that finds no waiter is stored, so none is lost between a look and the next wait.
    changed: Notify,
}

/// The permit of one open connection, returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

/// Notifies the queue from within a connection, without holding a permit.
///
/// The streams of an HTTP/2 connection hold one, while its task holds the [`Permit`]: they notify the queue when the
/// last stream has ended or the connection has become usable again.
#[cfg(feature = "http2")]
#[derive(Clone, Debug)]
pub(crate) struct PermitQueue(Arc<Permits>);

/// What ended a wait.
pub(crate) enum Found<T> {
    /// A permit to open a new connection.
    Place(Permit),
    /// An open connection, as the `ready` of [`Permits::wait`] found it.
    Ready(T),
}

impl Permits {
    /// Returns a limit of `max` connections, of which none is open.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            open: AtomicUsize::new(0),
            turn: Semaphore::new(1),
            changed: Notify::new(),
        }
    }

    /// Returns whether no further connection may be opened.
    #[cfg(feature = "http2")]
    pub(crate) fn is_full(&self) -> bool {
        self.open.load(Acquire) >= self.max
    }

    /// Returns whether a request is waiting. Connections that become free then belong to the head of the queue, and a
    /// request that has just arrived must not take one past it.
    pub(crate) fn is_contended(&self) -> bool {
        self.turn.available_permits() == 0
    }

    /// Waits for a permit, or for a connection that `ready` returns. Returns `None` if neither came by `deadline`.
    ///
    /// `ready` returns a connection that the request can use. `evict` closes one that it cannot use, and returns
    /// whether there was one: a connection that is idle on another runtime, or that speaks another version of HTTP, is
    /// of use only for its permit. Both are called by the head of the queue alone, and without a lock held.
    ///
    /// The time spent in the queue counts toward the deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue, and the next request becomes its head. A notification that had arrived in
    /// the meantime stays stored for that request.
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
                // One eviction frees enough. An HTTP/2 connection returns its permit only when its task has ended, and
                // notifies then.
                evicted = evict();
                if evicted {
                    continue;
                }
            }
            timeout_at(deadline, self.changed.notified()).await.ok()?;
        }
    }

    /// Returns a permit if there are fewer than `max`.
    fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let more = |open: usize| (open < self.max).then_some(open + 1);
        self.open
            .fetch_update(AcqRel, Acquire, more)
            .is_ok()
            .then(|| Permit(self.clone()))
    }

    /// Notifies the queue that a connection has closed, or can now be used or closed.
    pub(crate) fn tell(&self) {
        self.changed.notify_one();
    }
}

impl Permit {
    /// Returns the queue that waits for this permit among others.
    #[cfg(feature = "http2")]
    pub(crate) fn waiters(&self) -> PermitQueue {
        PermitQueue(self.0.clone())
    }
}

impl Drop for Permit {
    /// Returns the permit, and notifies the queue.
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, AcqRel);
        self.0.tell();
    }
}

#[cfg(feature = "http2")]
impl PermitQueue {
    /// Notifies the queue that the connection can now be used or closed.
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

    /// Waits for a permit, with no connection ready and none to close.
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
        // The first waiter is dropped after it has been notified of the permit.
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

    /// A connection that becomes idle after the wait has begun is closed too, and only one for one permit.
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
