//! Closes idle connections when they have ended or idled for too long, without waiting for the next request.
//!
//! Without it, a connection that the server has closed would stay half-closed, with its file descriptor and its place
//! among the open connections, until a request takes it.
//!
//! States of a reaper, one task per pool and runtime:
//!
//! - *Sweeping*: looks at all idle connections of its runtime.
//! - *Asleep*: until the next one is due, or until the [`Bell`] rings, as it does when something happens on the socket
//!   of an idle connection.
//! - *Ended*: the pool is gone and has aborted the task, or the runtime is shutting down and drops it. In the latter
//!   case the task removes the runtime's shelf.
//!
//! It refers to the pool weakly, and never holds it while asleep.

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

/// What a reaper looks after. A trait, so that this file does not depend on the pool's.
pub(super) trait Sweep: Send + Sync {
    /// Closes what has ended or idled for too long on a runtime, and returns when to look again.
    fn sweep(&self, runtime: runtime::Id) -> Instant;

    /// Called when the runtime of the reaper that waits for `bell` has shut down.
    fn leave(&self, bell: &Arc<Bell>);
}

/// Wakes the reaper of one shelf. As a [`Waker`](std::task::Waker) it is what idle connections are polled with.
///
/// A ring while the reaper sweeps is stored, so that it sweeps once more.
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

/// The handle of a reaper's task, which it aborts when it is dropped, with the shelf.
#[derive(Debug)]
pub(super) struct Reaper(AbortHandle);

impl Reaper {
    /// Spawns the task. Has to be called on `runtime`.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    pub(super) fn spawn(pool: Weak<dyn Sweep>, runtime: runtime::Id, bell: Arc<Bell>) -> Self {
        Self(tokio::spawn(reap(Leave { pool, bell }, runtime)).abort_handle())
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The task: sweeps, sleeps, and ends when the pool is gone.
async fn reap(leave: Leave, runtime: runtime::Id) {
    while let Some(pool) = leave.pool.upgrade() {
        let next = pool.sweep(runtime);
        // Not held while asleep, or the pool would never be dropped.
        drop(pool);
        tokio::select! {
            () = leave.bell.0.notified() => {}
            () = sleep_until(next) => {}
        }
    }
}

/// Removes the runtime's shelf when the task is dropped.
///
/// When a runtime shuts down before the pool is dropped, its tasks are dropped, this one among them, and the
/// connections that were made on it can no longer be used.
struct Leave {
    /// The pool.
    pool: Weak<dyn Sweep>,
    /// Identifies the shelf.
    bell: Arc<Bell>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.leave(&self.bell);
        }
    }
}
