//! Closes idle connections when they have ended or idled for too long, without waiting for the next request.

use std::{
    sync::{Arc, Weak},
    task::Wake,
};

use tokio::{
    runtime,
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

/// What a reaper looks after.
pub(super) trait Sweep: Send + Sync {
    /// Closes what has ended or idled for too long on a runtime, and says when to look again.
    fn sweep(&self, runtime: runtime::Id) -> Instant;

    /// The runtime has gone away; its reaper was woken by this bell.
    fn leave(&self, bell: &Arc<Bell>);
}

/// Rung by whatever has become worth a look.
#[derive(Debug, Default)]
pub(super) struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

/// A task per pool and runtime; it ends when this is dropped, which is with the pool.
#[derive(Debug)]
pub(super) struct Reaper(AbortHandle);

impl Reaper {
    /// Has to be called on `runtime`.
    pub(super) fn spawn(pool: Weak<dyn Sweep>, runtime: runtime::Id, bell: Arc<Bell>) -> Self {
        Self(tokio::spawn(reap(Leave { pool, bell }, runtime)).abort_handle())
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn reap(leave: Leave, runtime: runtime::Id) {
    while let Some(pool) = leave.pool.upgrade() {
        let next = pool.sweep(runtime);
        drop(pool);
        tokio::select! {
            () = leave.bell.0.notified() => {}
            () = sleep_until(next) => {}
        }
    }
}

/// When a runtime goes away before the pool, its tasks are dropped, this one among them, and the connections that were
/// made on it can no longer be used.
struct Leave {
    pool: Weak<dyn Sweep>,
    bell: Arc<Bell>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.leave(&self.bell);
        }
    }
}
