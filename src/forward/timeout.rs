//! How long an exchange may take before its response head is here.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    body::{Deadlines, Progress, Upload},
    clock::after,
    error::Kind,
};

/// The deadlines of an exchange; `None` is none. Connecting has its own, at the endpoint's client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From the last byte of the request to the response head.
    pub(crate) head: Option<Duration>,
    /// With nothing moved, in bodies and tunnels.
    pub(crate) idle: Option<Duration>,
    /// For all of it, but not for tunnels.
    pub(crate) total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        // Head: nginx's proxy_read_timeout. Idle: YARP's ActivityTimeout.
        Self {
            head: Some(Duration::from_secs(60)),
            idle: Some(Duration::from_secs(100)),
            total: None,
        }
    }
}

pin_project! {
    /// Tells when to give up waiting for the head.
    ///
    /// While the request body is moving, only its standing still counts: a slow upload is no slow answer. From its end
    /// on, the time for the head runs.
    #[derive(Debug)]
    pub(super) struct HeadTimer {
        timeouts: Timeouts,
        // When the exchange began; read late, at the first wait, where no total time is counted from it.
        start: Option<Instant>,
        upload: Option<Arc<Progress>>,
        // Made when first needed: most answers to most requests are there before the first look at the clock.
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl HeadTimer {
    pub(super) fn new(timeouts: Timeouts, upload: Option<Arc<Progress>>) -> Self {
        let start = timeouts.total.map(|_| Instant::now());
        Self {
            timeouts,
            start,
            upload,
            sleep: None,
        }
    }

    pub(super) fn upload(&self) -> Option<Upload> {
        self.upload.as_deref().map(Progress::upload)
    }

    /// What still bounds the exchange when the head is here.
    pub(super) fn rest(&self) -> Deadlines {
        let moving = matches!(self.upload(), Some(Upload::Held | Upload::Wanted));
        Deadlines {
            idle: self.timeouts.idle,
            total: self.over(),
            upload: self.upload.clone().filter(|_| moving),
        }
    }

    pub(super) fn idle(&self) -> Option<Duration> {
        self.timeouts.idle
    }

    pub(super) fn poll_expired(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Kind> {
        if self.sleep.is_none() {
            let now = Instant::now();
            self.as_mut().project().start.get_or_insert(now);
            let Some(look) = self.next_look(now) else {
                return Poll::Pending;
            };
            self.as_mut().project().sleep.set(Some(sleep_until(look)));
        }
        while let Some(sleep) = self.as_mut().project().sleep.as_pin_mut() {
            if sleep.poll(cx).is_pending() {
                break;
            }
            let now = Instant::now();
            if let Some((_, kind)) = self
                .due(now)
                .into_iter()
                .flatten()
                .find(|(due, _)| *due <= now)
            {
                return Poll::Ready(kind);
            }
            let look = self.next_look(now);
            self.as_mut().project().sleep.set(look.map(sleep_until));
        }
        Poll::Pending
    }

    /// The deadlines as things stand.
    fn due(&self, now: Instant) -> [Option<(Instant, Kind)>; 2] {
        let moved = self.moved(now);
        let (limit, kind) = match self.upload() {
            Some(Upload::Wanted) => (self.timeouts.idle, Kind::ClientStalled),
            Some(Upload::Held) => (self.timeouts.idle, Kind::IdleTimeout),
            _ => (self.timeouts.head, Kind::HeadTimeout),
        };
        [
            limit.map(|limit| (after(moved, limit), kind)),
            self.over().map(|over| (over, Kind::TotalTimeout)),
        ]
    }

    /// When to look again. The upload may end without waking this task, so at the earliest time at which a deadline
    /// could be due if it ended now; and while it lasts there is always such a time.
    fn next_look(&self, now: Instant) -> Option<Instant> {
        let moved = self.moved(now);
        let Timeouts { head, idle, .. } = self.timeouts;
        let uploading = matches!(self.upload(), Some(Upload::Held | Upload::Wanted));
        let idle = idle.filter(|_| uploading).map(|idle| after(moved, idle));
        let head = head.map(|head| match after(moved, head) {
            past if past <= now => after(now, head),
            look => look,
        });
        [idle, head, self.over()]
            .into_iter()
            .flatten()
            .filter(|look| *look > now)
            .min()
    }

    fn over(&self) -> Option<Instant> {
        self.timeouts
            .total
            .zip(self.start)
            .map(|(total, start)| after(start, total))
    }

    fn moved(&self, now: Instant) -> Instant {
        self.upload
            .as_deref()
            .map_or(self.start.unwrap_or(now), Progress::last_moved)
    }
}
