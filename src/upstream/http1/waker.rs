//! Who is told when a connection stirs.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
};

/// The waker of one connection, for as long as it lives. It passes on to whoever waits for the connection: the
/// task of a request, or the reaper of the pool.
///
/// hyper's two ends wake each other: a request that is handed over wakes the driver, and so does a frame that is
/// taken out. The task of the request drives both, and would be run again each time for nothing: four times per
/// request where two do, a tenth of all instructions. So nobody is told while it runs.
#[derive(Debug, Default)]
pub(super) struct ConnectionWaker(Mutex<WakerState>);

#[derive(Debug, Default)]
struct WakerState {
    stirred: bool,
    told: Option<Waker>,
}

impl ConnectionWaker {
    /// Tells nobody from now on. True if nothing had stirred.
    pub(super) fn hush(&self) -> bool {
        let WakerState { stirred, told } = mem::take(&mut *self.lock());
        drop(told);
        !stirred
    }

    /// Tells `waker`, once; at once if the connection has stirred since the [`hush`](Self::hush).
    pub(super) fn tell(&self, waker: &Waker) {
        let mut state = self.lock();
        if state.stirred {
            drop(state);
            return waker.wake_by_ref();
        }
        state.told = Some(waker.clone());
    }

    /// Nothing that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, WakerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

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
