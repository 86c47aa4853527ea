//! What all services of a layer share.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{runtime::Handle, task::JoinSet};

use super::stats::MirrorCounts;

/// The counts, the tasks and the draw. The tasks are aborted when the layer and all its services have been dropped.
#[derive(Debug, Default)]
pub(super) struct MirrorState {
    pub(super) counts: Arc<MirrorCounts>,
    /// Locked to spawn a task.
    tasks: Mutex<JoinSet<()>>,
    /// Locked to draw one number.
    rng: Mutex<fastrand::Rng>,
}

impl MirrorState {
    /// Spawns a task.
    pub(super) fn spawn(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // The set would grow with each task that has ended.
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, runtime);
    }

    /// Returns whether chance has a request copied.
    pub(super) fn is_drawn(&self, ratio: f64) -> bool {
        ratio >= 1.0 || self.rng().f64() < ratio
    }

    /// Draws from this seed from now on.
    pub(super) fn seed(&self, seed: u64) {
        self.rng().seed(seed);
    }

    fn rng(&self) -> std::sync::MutexGuard<'_, fastrand::Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
