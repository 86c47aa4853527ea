//! When an endpoint has received a whole request.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire},
};

use super::{load::Load, siblings::Micros};
use crate::record::OnSent;

/// Notes when an endpoint has received the whole of a request with a body.
///
/// It is shared by the request body, which may be polled by a task of its own, and the guard. `sent` goes from
/// [`UNSENT`] to a time and then to [`STOPPED`], or to that at once; the two race, and each end of the race is handled
/// by the one that comes second.
#[derive(Debug)]
pub(super) struct UploadClock {
    load: Arc<Load>,
    /// The time, or one of the two constants.
    sent: AtomicU64,
}

/// The body has not ended yet.
const UNSENT: u64 = u64::MAX;
/// Nothing is waited for any more.
const STOPPED: u64 = u64::MAX - 1;

impl UploadClock {
    /// Makes a clock for a body that has not ended.
    pub(super) fn new(load: Arc<Load>) -> Self {
        Self {
            load,
            sent: AtomicU64::new(UNSENT),
        }
    }

    /// Ends the wait. Returns the time when the body ended, or `None` if it has not, or if this was called before.
    pub(super) fn stop(&self) -> Option<Micros> {
        Some(self.sent.swap(STOPPED, AcqRel)).filter(|sent| *sent < STOPPED)
    }
}

impl OnSent for UploadClock {
    /// Begins the wait, unless it is over already.
    fn sent(&self) {
        let now = self.load.clock();
        // Counted before it is published: a stop at this moment then ends a wait that has been counted.
        self.load.sent(now);
        if self
            .sent
            .compare_exchange(UNSENT, now, AcqRel, Acquire)
            .is_err()
        {
            self.load.unsent(now);
        }
    }
}
