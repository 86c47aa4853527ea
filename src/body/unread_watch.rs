//! The watch over response bodies that clients may leave unread: one task for all of them.
//!
//! It wakes at intervals, and not once per body and deadline. What a body is, and when it is due, is behind the trait
//! [`Unread`]: see [`unread`](super::unread).

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use slab::Slab;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// The response bodies of a proxy that a client could leave unread, shared by the clones of the proxy.
///
/// One task looks at all of them. It is spawned with the first body, on the runtime that adds it, and ends when no body
/// is left.
#[derive(Default)]
pub(crate) struct UnreadWatch {
    watched: Mutex<Watched>,
    /// Notifies the task that the interval has become shorter.
    hurry: Notify,
}

/// The part of the watch that is behind its lock.
#[derive(Default)]
struct Watched {
    /// The bodies, by the key that [`UnreadWatch::add`] returned. The owner of a body removes it when it is dropped.
    bodies: Slab<Entry>,
    /// The time to the next look, the shortest that any body needs. `None` while there is no task.
    interval: Option<Duration>,
}

/// A body in the watch.
struct Entry {
    body: Weak<dyn Unread>,
    /// How often the body is to be looked at.
    interval: Duration,
}

/// A body as the watch sees it, whatever its type.
pub(super) trait Unread: Send + Sync {
    /// Returns whether the client has left the body unread for too long. `false` while the client waits for the
    /// endpoint.
    fn is_due(&self, now: Instant) -> bool;

    /// Drops the endpoint's body, and with it what the exchange holds of the endpoint, unless the client has asked for
    /// more since the body was found due.
    fn let_go(&self, now: Instant);
}

impl UnreadWatch {
    /// A body is looked at so many times in its idle time, so that it is noticed to be unread at most a tenth of that
    /// time late. A look is cheap, but it locks each body.
    const SLACK: u32 = 10;

    /// Adds a body that may be left unread for `idle`, and returns its key. Spawns the task if there is none.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, if the task has to be spawned.
    pub(super) fn add(self: &Arc<Self>, body: Weak<dyn Unread>, idle: Duration) -> usize {
        // tokio's timers have a resolution of a millisecond.
        let interval = (idle / Self::SLACK).max(Duration::from_millis(1));
        let mut watched = self.lock();
        let key = watched.bodies.insert(Entry { body, interval });
        let before = watched.interval;
        if before.is_none_or(|before| interval < before) {
            watched.interval = Some(interval);
            drop(watched);
            match before {
                Some(_) => self.hurry.notify_one(),
                None => drop(tokio::spawn(LookAfter::new(self).run(interval))),
            }
        }
        key
    }

    /// Removes a body.
    pub(super) fn remove(&self, key: usize) {
        self.lock().bodies.try_remove(key);
    }

    /// Releases the endpoints of all bodies that are due. Returns the time until the next look, or `None` if no body is
    /// left and the task has to end.
    fn look(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut watched = self.lock();
        let intervals = watched.bodies.iter().map(|(_, entry)| entry.interval);
        let interval = intervals.min();
        watched.interval = interval;
        // No body is dropped with these references: a `WatchedBody` gives its own up only after it has been removed,
        // and the removal waits for this lock.
        let bodies = watched.bodies.iter();
        let bodies = bodies.filter_map(|(_, entry)| entry.body.upgrade());
        let bodies: Vec<_> = bodies.filter(|body| body.is_due(now)).collect();
        // Dropping an endpoint's body may run code of the user.
        drop(watched);
        bodies.iter().for_each(|body| body.let_go(now));
        interval
    }

    /// Locks the bodies. Each change under the lock is complete in itself, so a poisoned lock is used as it is.
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of a watch.
///
/// A runtime that is shut down drops it half way, while the proxy may live on in another runtime. The next body that is
/// added spawns another task then, which looks at all bodies.
struct LookAfter {
    watch: Arc<UnreadWatch>,
    /// Whether the task has ended by itself, in which case [`UnreadWatch::look`] has cleared the interval.
    ended: bool,
}

impl LookAfter {
    /// Returns the task, which is not running yet.
    fn new(watch: &Arc<UnreadWatch>) -> Self {
        Self {
            watch: watch.clone(),
            ended: false,
        }
    }

    /// Looks at the bodies at intervals, the first time after `first`, until none is left.
    async fn run(mut self, first: Duration) {
        let mut interval = Some(first);
        while let Some(wait) = interval {
            // The task hears of a shorter interval at once. The look that comes too early for it does no harm.
            let _ = timeout(wait, self.watch.hurry.notified()).await;
            interval = self.watch.look();
        }
        self.ended = true;
    }
}

impl Drop for LookAfter {
    /// Clears the interval if the task was dropped half way, so that the next body spawns another.
    fn drop(&mut self) {
        // After a regular end, the interval may be that of the next task.
        if !self.ended {
            self.watch.lock().interval = None;
        }
    }
}

impl fmt::Debug for UnreadWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnreadWatch")
            .field("bodies", &self.lock().bodies.len())
            .finish()
    }
}

#[cfg(test)]
impl UnreadWatch {
    /// Returns how many bodies are watched.
    pub(super) fn len(&self) -> usize {
        self.lock().bodies.len()
    }

    /// Returns whether a task looks at the bodies.
    pub(super) fn is_running(&self) -> bool {
        self.lock().interval.is_some()
    }
}
