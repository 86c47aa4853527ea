//! How many connections may be open at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire},
};

use tokio::sync::{Notify, futures::Notified};

/// Counts open connections, and tells one who waits that one of them is free again: closed, or idle.
#[derive(Debug)]
pub(crate) struct Permits {
    max: usize,
    open: AtomicUsize,
    freed: Notify,
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Permits {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            open: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    #[cfg(feature = "http2")]
    pub(crate) fn is_full(&self) -> bool {
        self.open.load(Acquire) >= self.max
    }

    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let more = |open: usize| (open < self.max).then_some(open + 1);
        self.open
            .fetch_update(AcqRel, Acquire, more)
            .is_ok()
            .then(|| Permit(self.clone()))
    }

    /// To be made before looking, so that nothing freed in between is missed.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    pub(crate) fn tell(&self) {
        self.freed.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, AcqRel);
        self.0.tell();
    }
}
