//! Closes idle connections when they have ended or idled for too long, without waiting for the next request.

use std::{
    sync::{Arc, Weak},
    task::Wake,
};

use tokio::{runtime, sync::Notify, task::AbortHandle, time::sleep_until};

use super::{Pool, shelf::Shelf};

/// Rung by whatever has become worth a look.
#[derive(Debug, Default)]
pub(super) struct Bell(Notify);

impl Bell {
    pub(super) fn ring(&self) {
        self.0.notify_one();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// A task per pool and runtime; it ends when this is dropped, which is with the pool.
#[derive(Debug)]
pub(super) struct Reaper(AbortHandle);

impl Reaper {
    /// Has to be called on `runtime`.
    pub(super) fn spawn(pool: &Arc<Pool>, runtime: runtime::Id, bell: Arc<Bell>) -> Self {
        let leave = Leave {
            pool: Arc::downgrade(pool),
            runtime,
            bell,
        };
        Self(tokio::spawn(reap(leave)).abort_handle())
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn reap(leave: Leave) {
    while let Some(pool) = leave.pool.upgrade() {
        let (gone, next) = pool.shelf(leave.runtime, |shelf| shelf.sweep(pool.limits.idle_timeout));
        drop((gone, pool));
        tokio::select! {
            () = leave.bell.0.notified() => {}
            () = sleep_until(next) => {}
        }
    }
}

/// When a runtime goes away before the pool, its tasks are dropped, this one among them, and nobody can use the
/// connections that were made on it.
struct Leave {
    pool: Weak<Pool>,
    runtime: runtime::Id,
    bell: Arc<Bell>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            let mut shelves = pool.lock();
            let own = |(_, shelf): &(runtime::Id, Shelf)| shelf.is_rung_by(&self.bell);
            let left = shelves
                .iter()
                .position(own)
                .map(|at| shelves.swap_remove(at));
            drop(shelves);
            drop(left);
        }
    }
}
