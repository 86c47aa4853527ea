//! How long an exchange may take before its response head is there.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::timeouts::Timeouts;
use crate::{
    body::{Deadlines, Timer},
    clock::after,
    error::ErrorKind,
    record::{Record, UploadState},
};

pin_project! {
    /// Tells when to give up waiting for the head.
    ///
    /// While the request body is moving, only its standing still counts: a slow upload is no slow answer. From its end
    /// on, the time for the head runs.
    #[derive(Debug)]
    pub(super) struct HeadTimer {
        timeouts: Timeouts,
        record: Arc<Record>,
        // Armed when first needed: most answers are there before anything looks at the clock.
        #[pin]
        timer: Timer,
    }
}

impl HeadTimer {
    pub(super) fn new(timeouts: Timeouts, record: Arc<Record>) -> Self {
        Self {
            timeouts,
            record,
            timer: Timer::default(),
        }
    }

    /// What still bounds the exchange when the head is there.
    pub(super) fn rest(&self) -> Deadlines {
        let moving = self.record.upload().is_under_way();
        Deadlines {
            idle: self.timeouts.idle,
            total: over(&self.timeouts, &self.record),
            upload: moving.then(|| self.record.clone()),
        }
    }

    pub(super) fn idle(&self) -> Option<Duration> {
        self.timeouts.idle
    }

    /// Ready with the deadline that has passed, once one has.
    pub(super) fn poll_expired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ErrorKind> {
        let this = self.project();
        let (timeouts, record) = (this.timeouts, &**this.record);
        let mut timer = this.timer;
        loop {
            // The upload may end without waking this task, so the timer fires at the earliest time at which a
            // deadline could be due if it ended now.
            ready!(timer.as_mut().poll_due(cx, || next_look(timeouts, record)));
            let now = Instant::now();
            let passed = due(timeouts, record)
                .into_iter()
                .flatten()
                .find(|(due, _)| *due <= now);
            if let Some((_, kind)) = passed {
                return Poll::Ready(kind);
            }
            timer.as_mut().reset();
        }
    }
}

/// The deadlines as things stand.
fn due(timeouts: &Timeouts, record: &Record) -> [Option<(Instant, ErrorKind)>; 2] {
    let moved = record.upload_moved();
    let (limit, kind) = match record.upload().state() {
        UploadState::Wanted => (timeouts.idle, ErrorKind::ClientStalled),
        UploadState::Held | UploadState::Undecided => (timeouts.idle, ErrorKind::IdleTimeout),
        _ => (timeouts.head, ErrorKind::ResponseTimeout),
    };
    let still = limit.map(|limit| (after(moved, limit), kind));
    let total = over(timeouts, record).map(|over| {
        // A client that is still sending is what the time was spent on.
        let kind = match record.upload().state() {
            UploadState::Wanted => ErrorKind::ClientStalled,
            _ => ErrorKind::TotalTimeout,
        };
        (over, kind)
    });
    [still, total]
}

/// The earliest time at which a deadline may be due.
fn next_look(timeouts: &Timeouts, record: &Record) -> Option<Instant> {
    let moved = record.upload_moved();
    let uploading = record.upload().is_under_way();
    let idle = timeouts
        .idle
        .filter(|_| uploading)
        .map(|idle| after(moved, idle));
    let head = timeouts.head.map(|head| after(moved, head));
    // While the body is under way, the time for the head has not begun.
    let head = match head {
        Some(past) if uploading && past <= Instant::now() => {
            timeouts.head.map(|head| after(Instant::now(), head))
        }
        other => other,
    };
    [idle, head, over(timeouts, record)]
        .into_iter()
        .flatten()
        .min()
}

fn over(timeouts: &Timeouts, record: &Record) -> Option<Instant> {
    timeouts.total.map(|total| after(record.start(), total))
}
