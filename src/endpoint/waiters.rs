//! The tasks of requests in flight that want to know when their endpoint is given up.
//!
//! A task that waits for a response head or for more of a body is woken by its connection, and by nothing else. It
//! registers here as well, to be woken when the endpoint is found not to answer, so that another one may be asked, or
//! when the endpoint has been drained and the time for what was in flight is over.
//!
//! A task that is woken looks at the state of its endpoint; nothing is handed over here. The lock is held for a step of
//! a [`Slab`], and wakers, which are code of the user, are neither woken nor dropped under it. A clone of one is made
//! under it only where the task has changed.

use std::{
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Waker},
};

use slab::Slab;

/// The tasks that wait for something of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    wakers: Mutex<Slab<Waker>>,
    /// Whether what is in flight has to end.
    cut_off: AtomicBool,
}

impl Waiters {
    /// Has the task of `cx` woken by the next [`wake`](Self::wake). `key` is that of the request, which is its own from
    /// the first call on.
    pub(super) fn watch(&self, key: &mut Option<usize>, cx: &Context<'_>) {
        let waker = cx.waker();
        let known = key.is_some_and(|key| {
            let wakers = self.lock();
            wakers.get(key).is_some_and(|known| known.will_wake(waker))
        });
        if known {
            return;
        }
        let waker = waker.clone();
        let mut wakers = self.lock();
        let before = match key.and_then(|key| wakers.get_mut(key)) {
            Some(known) => Some(mem::replace(known, waker)),
            None => {
                *key = Some(wakers.insert(waker));
                None
            }
        };
        drop(wakers);
        drop(before);
    }

    /// Forgets the task of this key.
    pub(super) fn forget(&self, key: Option<usize>) {
        let waker = key.and_then(|key| self.lock().try_remove(key));
        drop(waker);
    }

    /// Wakes all tasks. Each stays registered.
    pub(super) fn wake(&self) {
        let wakers: Vec<_> = self.lock().iter().map(|(_, waker)| waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends what is in flight: each task finds so when it is polled, and is woken.
    pub(super) fn cut_off(&self) {
        self.cut_off.store(true, SeqCst);
        self.wake();
    }

    /// Lets what begins from now on end by itself.
    pub(super) fn resume(&self) {
        self.cut_off.store(false, SeqCst);
    }

    /// Returns whether what is in flight has to end. To be asked after [`watch`](Self::watch), so that no wake is
    /// missed in between.
    pub(super) fn are_cut_off(&self) -> bool {
        self.cut_off.load(SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;
    use tokio_test_waker::CountingWaker;

    use super::*;

    mod tokio_test_waker {
        use std::{
            sync::{
                Arc,
                atomic::{AtomicUsize, Ordering::SeqCst},
            },
            task::{Wake, Waker},
        };

        /// Counts how often it is woken.
        #[derive(Default)]
        pub(super) struct CountingWaker(pub(super) AtomicUsize);

        impl Wake for CountingWaker {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, SeqCst);
            }
        }

        impl CountingWaker {
            pub(super) fn pair() -> (Arc<Self>, Waker) {
                let counter = Arc::<Self>::default();
                (counter.clone(), counter.into())
            }
        }
    }

    #[test]
    fn each_task_is_woken_and_the_last_one_of_a_request_counts() {
        let waiters = Waiters::default();
        let (count, waker) = CountingWaker::pair();
        let mut key = None;
        waiters.watch(&mut key, &Context::from_waker(noop_waker_ref()));
        for _ in 0..3 {
            waiters.watch(&mut key, &Context::from_waker(&waker));
        }
        waiters.wake();
        waiters.wake();
        assert_eq!(count.0.load(SeqCst), 2);
        waiters.forget(key);
        waiters.cut_off();
        assert_eq!(count.0.load(SeqCst), 2);
        assert!(waiters.are_cut_off() && waiters.lock().is_empty());
    }
}
