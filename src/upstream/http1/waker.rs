//! Forwards the wake-ups of a connection to the task that currently waits for it.
//!
//! hyper's connection is polled with one waker for its whole life, while its holder changes: the task of a request, the
//! task that reads the body, the pool's reaper. [`ConnectionWaker`] stands between them.
//!
//! It also suppresses wake-ups. hyper's two ends wake each other: a request that is handed over wakes the driver, and
//! so does a frame that is taken out. Here one task drives both ends, and would be polled again each time for nothing:
//! four polls for each request where two suffice, a tenth of all instructions. So nothing is forwarded while the task
//! runs.
//!
//! The protocol, from the side of the holder:
//!
//! 1. [`hush`](ConnectionWaker::hush): wake-ups are only noted from now on.
//! 2. Poll the driver, then what it feeds.
//! 3. If that is pending, [`tell`](ConnectionWaker::tell): the next wake-up is forwarded, or one that was noted in the
//!    meantime, at once. So none is lost between the poll and the registration.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
};

/// The waker of one connection, for as long as it lives. At most one waker is registered, and is woken at most once.
///
/// A mutex, not an atomic waker: the critical sections are a few instructions, and the flag and the waker have to
/// change together.
#[derive(Debug, Default)]
pub(super) struct ConnectionWaker(Mutex<WakerState>);

/// What a [`ConnectionWaker`] knows between two polls.
#[derive(Debug, Default)]
struct WakerState {
    /// Whether the connection was woken since the last `hush`.
    stirred: bool,
    /// The waker to forward the next wake-up to.
    told: Option<Waker>,
}

impl ConnectionWaker {
    /// Forwards nothing from now on, and forgets the registered waker. Returns whether nothing had happened since the
    /// last call: no wake-up, so that polling the driver would have no effect.
    pub(super) fn hush(&self) -> bool {
        let WakerState { stirred, told } = mem::take(&mut *self.lock());
        // Dropped outside the lock: the last reference to a waker may free its task.
        drop(told);
        !stirred
    }

    /// Forwards the next wake-up to `waker`, once. Wakes it at once if there was one since [`hush`](Self::hush).
    pub(super) fn tell(&self, waker: &Waker) {
        let mut state = self.lock();
        if state.stirred {
            drop(state);
            return waker.wake_by_ref();
        }
        state.told = Some(waker.clone());
    }

    /// Locks the state. Nothing that can panic runs under the lock, so a poisoned one is still consistent.
    fn lock(&self) -> MutexGuard<'_, WakerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// Notes the wake-up, and forwards it if a waker is registered, after the lock is released.
    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.lock();
        state.stirred = true;
        let told = state.told.take();
        drop(state);
        if let Some(waker) = told {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn what_stirs_before_somebody_waits_is_not_lost() {
        let (watch, count) = (
            Arc::new(ConnectionWaker::default()),
            Arc::new(Count::default()),
        );
        let (stir, waker) = (Waker::from(watch.clone()), Waker::from(count.clone()));
        let told = || count.0.load(Relaxed);

        watch.hush();
        stir.wake_by_ref();
        assert_eq!(told(), 0, "nobody waits");
        watch.tell(&waker);
        assert_eq!(told(), 1, "it has stirred while nobody waited");

        assert!(!watch.hush());
        watch.tell(&waker);
        assert_eq!(told(), 1);
        stir.wake_by_ref();
        stir.wake_by_ref();
        assert_eq!(told(), 2, "told once");

        assert!(!watch.hush());
        watch.tell(&waker);
        assert!(watch.hush());
        stir.wake_by_ref();
        assert_eq!(told(), 2, "no longer waiting");
    }
}
