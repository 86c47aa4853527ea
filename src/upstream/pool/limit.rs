//! How many connections may be open at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire},
};

use tokio::sync::{Notify, futures::Notified};

/// Counts open connections, and tells one who waits that one of them is free again: closed, or idle.
#[derive(Debug)]
pub(super) struct Limit {
    max: usize,
    open: AtomicUsize,
    freed: Notify,
}

/// One open connection.
#[derive(Debug)]
pub(in crate::upstream) struct Permit(Arc<Limit>);

impl Limit {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            open: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    #[cfg(feature = "http2")]
    pub(super) fn is_full(&self) -> bool {
        self.open.load(Acquire) >= self.max
    }

    pub(super) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let more = |open: usize| (open < self.max).then_some(open + 1);
        self.open
            .fetch_update(AcqRel, Acquire, more)
            .is_ok()
            .then(|| Permit(self.clone()))
    }

    /// To be made before looking, so that nothing freed in between is missed.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    pub(super) fn tell(&self) {
        self.freed.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, AcqRel);
        self.0.tell();
    }
}
