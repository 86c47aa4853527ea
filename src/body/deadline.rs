//! The deadlines of an exchange after its response head.
//!
//! [`Deadlines`] are the values that bound a response body, computed when its head arrives. Deadlines before the head
//! are in `forward/head_timer.rs`. Nothing here decides what happens when a deadline passes. All times are of tokio's
//! clock.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    clock::{after, sooner},
    error::ErrorKind,
    record::Record,
};

/// What bounds an exchange once its response head has arrived. `Default` is no limit at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines {
    /// The longest time in which neither body moves. `None` is no limit.
    pub(crate) idle: Option<Duration>,
    /// When the whole exchange must be over. `None` is no limit.
    pub(crate) total: Option<Instant>,
    /// The exchange, if its request body was still in transfer when the head arrived. While that body moves, a response
    /// that waits for its end is not idle.
    pub(crate) upload: Option<Arc<Record>>,
}

impl Deadlines {
    /// Returns the earlier of both deadlines, for an exchange in which the response has not moved since `since`. `None`
    /// if there is no limit.
    pub(super) fn due(&self, since: Instant) -> Option<Instant> {
        let moved = self.upload.as_ref().map(|record| record.upload_moved());
        let since = moved.map_or(since, |moved| since.max(moved));
        let idle = self.idle.map(|idle| after(since, idle));
        sooner(idle, self.total)
    }

    /// Returns whether the total deadline has passed.
    pub(super) fn is_over(&self) -> bool {
        self.total.is_some_and(|total| total <= Instant::now())
    }

    /// Returns the kind of the deadline that has passed. Only to be called once [`due`](Self::due) has come: it does
    /// not check that either has passed.
    pub(super) fn passed(&self) -> ErrorKind {
        if self.is_over() {
            ErrorKind::TotalTimeout
        } else {
            ErrorKind::IdleTimeout
        }
    }
}
