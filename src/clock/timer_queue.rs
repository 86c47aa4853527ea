//! The timers of one thread of a runtime, and the task that fires them.
//!
//! tokio's own timers are exact, and each is inserted into a wheel and removed from it under the lock of the runtime.
//! Almost all deadlines of a proxy are never reached, and are there for that case only. Here, such a timer costs an
//! insertion into a list and a removal, and one task with one timer of tokio looks after all of them. They are as exact
//! as tokio's: the task knows the first deadline of all timers.
//!
//! Each thread has a queue of its own, so that threads do not wait for each other, and a queue belongs to one runtime,
//! on which its task runs. A timer stays in the queue that it was inserted into, also when its future moves to another
//! thread or runtime.
//!
//! States of the task:
//!
//! - *None*: no timer has been inserted since the last task ended. The next timer spawns one.
//! - *Asleep*: until the first deadline that it knows of, or for a [`ROUND`] if that is shorter. The bell wakes it when
//!   a timer is inserted that is due before it would look.
//! - *Looking*: fires the timers that are due, and sorts the others.
//! - *Ended*: a look has found no timer. Thus a task outlives the last timer by at most a [`ROUND`].
//! - *Dropped*: the runtime has shut down. All timers fire, and those whose exchange lives on in another runtime are
//!   inserted into a queue of that one.

use std::{
    cell::RefCell,
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

use super::timer_lists::{TimerKey, TimerLists};

/// The longest time between two looks of a task.
///
/// It says how soon a task ends when it is no longer needed, and has no influence on when timers fire. It is long
/// enough for most requests to be answered between two looks.
pub(super) const ROUND: Duration = Duration::from_secs(1);

thread_local! {
    /// The queue of this thread, with the runtime that was current when it was made.
    static CURRENT: RefCell<Option<(runtime::Id, Arc<TimerQueue>)>> = const { RefCell::new(None) };
}

/// The timers of one thread of a runtime.
#[derive(Debug, Default)]
pub(super) struct TimerQueue {
    state: Mutex<QueueState>,
    /// Notifies the task that a timer is due before it would look.
    bell: Notify,
}

/// The part of a queue that is behind its lock.
#[derive(Debug, Default)]
struct QueueState {
    timers: TimerLists<Waker>,
    /// When the task looks next, at the latest. `None` while there is no task.
    next_look: Option<Instant>,
}

/// A timer in a queue, from which it is removed when this is dropped.
#[derive(Debug)]
pub(super) struct QueuedTimer {
    queue: Arc<TimerQueue>,
    key: TimerKey,
}

impl TimerQueue {
    /// Returns the queue of this thread and the current runtime.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub(super) fn current() -> Arc<Self> {
        let runtime = Handle::current().id();
        let current = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            match &*current {
                Some((known, queue)) if *known == runtime => queue.clone(),
                _ => current.insert((runtime, Arc::default())).1.clone(),
            }
        });
        // A thread that is ending has lost its queue already.
        current.unwrap_or_default()
    }

    /// Inserts a timer, and sees to it that the task looks in time. Returns `None` if the timer is due already.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime whose time driver is enabled, if the task has to be spawned.
    fn insert(self: &Arc<Self>, due: Instant, waker: &Waker) -> Option<TimerKey> {
        let waker = waker.clone();
        let mut state = self.lock();
        if state.next_look.is_some_and(|next| next <= due) {
            return Some(state.timers.insert(due, waker));
        }
        let now = Instant::now();
        if due <= now {
            // The lock goes before the waker does.
            return None;
        }
        let next = due.min(now + ROUND);
        // Made here, so that it is the caller that panics if the runtime has no timers.
        let asleep = state.next_look.is_none().then(|| sleep_until(next));
        let key = state.timers.insert(due, waker);
        state.next_look = Some(next);
        // A runtime that is shutting down drops the task at once.
        drop(state);
        match asleep {
            Some(asleep) => drop(tokio::spawn(TimerTask::new(self).run(asleep))),
            None => self.bell.notify_one(),
        }
        Some(key)
    }

    /// Fires the timers that are due. Returns when to look next, or `None` if there is no timer and the task has to
    /// end.
    fn look(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.lock();
        let due = state.timers.take_due(now);
        let next = state.timers.first_sorted();
        let next = next.map(|next| next.min(now + ROUND));
        state.next_look = next;
        drop(state);
        due.into_iter().for_each(Waker::wake);
        next
    }

    /// Fires all timers, when the task has been dropped.
    fn abandon(&self) {
        let mut state = self.lock();
        state.next_look = None;
        let all = state.timers.take_all();
        drop(state);
        all.into_iter().for_each(Waker::wake);
    }

    /// Returns the number of timers.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().timers.len()
    }

    /// Locks the timers. Each change under the lock is complete in itself, so a poisoned lock is used as it is.
    ///
    /// No waker may be woken or dropped under the lock: that may drop a future with a timer of this queue.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueuedTimer {
    /// Inserts a timer into the queue of this thread. Returns `None` if the timer is due already.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime whose time driver is enabled.
    pub(super) fn new(due: Instant, waker: &Waker) -> Option<Self> {
        let queue = TimerQueue::current();
        let key = queue.insert(due, waker)?;
        Some(Self { queue, key })
    }

    /// Completes once the timer has fired, which may be too early if the runtime of its queue has shut down. Until then
    /// the timer wakes this waker.
    pub(super) fn poll_fired(&self, waker: &Waker) -> Poll<()> {
        let mut state = self.queue.lock();
        let Some(known) = state.timers.get_mut(&self.key) else {
            return Poll::Ready(());
        };
        if !known.will_wake(waker) {
            let other = mem::replace(known, waker.clone());
            drop(state);
            drop(other);
        }
        Poll::Pending
    }
}

impl Drop for QueuedTimer {
    fn drop(&mut self) {
        // The guard is gone at the end of this statement, before the waker.
        let waker = self.queue.lock().timers.remove(&self.key);
        drop(waker);
    }
}

/// The task of a queue.
struct TimerTask {
    queue: Arc<TimerQueue>,
    /// Whether the task has ended by itself, in which case another one may look after the queue already.
    ended: bool,
}

impl TimerTask {
    /// Returns the task, which is not running yet.
    fn new(queue: &Arc<TimerQueue>) -> Self {
        Self {
            queue: queue.clone(),
            ended: false,
        }
    }

    /// Fires timers until there is none, the first ones when `asleep` completes.
    async fn run(mut self, asleep: Sleep) {
        let mut asleep = pin!(asleep);
        loop {
            tokio::select! {
                () = asleep.as_mut() => {}
                () = self.queue.bell.notified() => {}
            }
            let Some(next) = self.queue.look() else {
                break;
            };
            asleep.as_mut().reset(next);
        }
        self.ended = true;
    }
}

impl Drop for TimerTask {
    /// Lets go of the timers if the task was dropped half way, so that none of them waits for it.
    fn drop(&mut self) {
        if !self.ended {
            self.queue.abandon();
        }
    }
}
