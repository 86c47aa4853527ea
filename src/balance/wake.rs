//! [`Wake`]: requests of an empty cluster wait while it is woken, as where servers are started on demand.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::AcqRel},
    },
    time::Duration,
};

/// How requests of an empty cluster are held, and what wakes it.
#[derive(Clone)]
pub(super) struct Wake {
    hold: Duration,
    /// Code of the user. Called without a lock.
    hook: Arc<dyn Fn() + Send + Sync>,
    /// The number of requests that are held.
    held: Arc<AtomicUsize>,
}

/// A request that is held. Dropping it lets it go.
pub(super) struct HeldRequest<'a>(&'a Wake);

impl Wake {
    /// Holds requests for up to `hold`, and calls `hook` for the first of those that are held together.
    pub(super) fn new(hold: Duration, hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            hold,
            hook: Arc::new(hook),
            held: Arc::default(),
        }
    }

    /// Returns the same settings for another cluster, which has its own requests.
    pub(super) fn fresh(&self) -> Self {
        Self {
            held: Arc::default(),
            ..self.clone()
        }
    }

    /// Returns for how long a request is held.
    pub(super) fn time(&self) -> Duration {
        self.hold
    }

    /// Holds a request. Calls the hook if it is the first one.
    pub(super) fn hold(&self) -> HeldRequest<'_> {
        let held = HeldRequest(self);
        if self.held.fetch_add(1, AcqRel) == 0 {
            (self.hook)();
        }
        held
    }
}

impl Drop for HeldRequest<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, AcqRel);
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wake")
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}
