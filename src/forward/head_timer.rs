//! The deadlines of an exchange until its response head has arrived.
//!
//! Which deadline counts depends on the request body (see [`UploadState`]):
//!
//! - *No upload, or one that has ended*: the response timeout, from the end of the upload, or from the beginning of the
//!   exchange if there is none. [`ErrorKind::ResponseTimeout`].
//! - *The endpoint's turn*: the idle timeout, from the last frame. It is its turn also while it has not answered an
//!   expectation. [`ErrorKind::IdleTimeout`].
//! - *The client's turn*: the idle timeout, from the time at which the endpoint asked for more.
//!   [`ErrorKind::ClientStalled`].
//! - *Always*: the total timeout, from the beginning of the exchange. [`ErrorKind::TotalTimeout`], or
//!   [`ErrorKind::ClientStalled`] on the client's turn.
//!
//! The time spent waiting for an endpoint and for a connection is part of these. The connect timeout is a further
//! limit, which is set at the endpoint's client.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::timeouts::Timeouts;
use crate::{
    body::Deadlines,
    clock::{Timer, after, sooner},
    error::ErrorKind,
    record::{Record, UploadState},
};

/// Decides when to give up waiting for the response head.
///
/// While the request body is in transfer, only its standing still counts: a slow upload is not a slow answer. The
/// response timeout runs from its end on.
#[derive(Debug)]
pub(super) struct HeadTimer {
    timeouts: Timeouts,
    record: Arc<Record>,
    /// Not armed before the first poll, at which the response may be there.
    timer: Timer,
}

impl HeadTimer {
    /// Returns the timer of an exchange, whose beginning is that of its record.
    pub(super) fn new(timeouts: Timeouts, record: Arc<Record>) -> Self {
        Self {
            timeouts,
            record,
            timer: Timer::default(),
        }
    }

    /// Returns the record of the exchange.
    pub(super) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Returns what bounds the exchange once the head has arrived.
    ///
    /// The idle time is the same as before the head. The total time goes on from the beginning of the exchange.
    pub(super) fn rest(&self) -> Deadlines {
        let moving = self.record.upload().is_under_way();
        Deadlines {
            idle: self.timeouts.idle,
            total: over(&self.timeouts, &self.record),
            upload: moving.then(|| self.record.clone()),
        }
    }

    /// Returns the idle timeout, which bounds a tunnel too.
    pub(super) fn idle(&self) -> Option<Duration> {
        self.timeouts.idle
    }

    /// Completes with the kind of the deadline that has passed, once one has. Stays pending forever if there is none.
    ///
    /// Has to be polled by the task that waits for the response. If several deadlines have passed, the one of the
    /// upload's state comes before the total one.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<ErrorKind> {
        let (timeouts, record) = (&self.timeouts, &*self.record);
        loop {
            // The upload may end without waking this task, so the timer fires at the earliest time at which a deadline
            // could be due if it ended now.
            ready!(self.timer.poll_due(cx, || next_look(timeouts, record)));
            let now = Instant::now();
            let passed = due(timeouts, record)
                .into_iter()
                .flatten()
                .find(|(due, _)| *due <= now);
            if let Some((_, kind)) = passed {
                return Poll::Ready(kind);
            }
        }
    }
}

/// Returns the deadlines as things stand, each with the kind of its error: that of the upload's state, and the total
/// one.
fn due(timeouts: &Timeouts, record: &Record) -> [Option<(Instant, ErrorKind)>; 2] {
    let moved = record.upload_moved();
    let (limit, kind) = match record.upload().state() {
        UploadState::Wanted => (timeouts.idle, ErrorKind::ClientStalled),
        UploadState::Held | UploadState::Undecided => (timeouts.idle, ErrorKind::IdleTimeout),
        _ => (timeouts.head, ErrorKind::ResponseTimeout),
    };
    let still = limit.map(|limit| (after(moved, limit), kind));
    let total = over(timeouts, record).map(|over| {
        // The time was spent on a client that is still sending.
        let kind = match record.upload().state() {
            UploadState::Wanted => ErrorKind::ClientStalled,
            _ => ErrorKind::TotalTimeout,
        };
        (over, kind)
    });
    [still, total]
}

/// Returns the earliest time at which a deadline may be due, or `None` if there is no limit.
///
/// It may be too early, in which case it is computed again, but is never too late, whatever the upload does in the
/// meantime.
fn next_look(timeouts: &Timeouts, record: &Record) -> Option<Instant> {
    let moved = record.upload_moved();
    let head = timeouts.head.map(|head| after(moved, head));
    let still = match record.upload().is_under_way() {
        true => {
            let idle = timeouts.idle.map(|idle| after(moved, idle));
            // The time for the head has not begun: if the upload ended now, it would run from now.
            let head = match head {
                Some(past) if past <= Instant::now() => {
                    timeouts.head.map(|head| after(Instant::now(), head))
                }
                other => other,
            };
            sooner(idle, head)
        }
        false => head,
    };
    sooner(still, over(timeouts, record))
}

/// Returns when the total time is over. `None` is no limit.
fn over(timeouts: &Timeouts, record: &Record) -> Option<Instant> {
    timeouts.total.map(|total| after(record.start(), total))
}
