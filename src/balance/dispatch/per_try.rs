//! The timer of the per-try timeout.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::{body::Timer, clock::after, record::Record};

pin_project! {
    /// Completes when one attempt has waited for its response head for too long.
    ///
    /// The time runs from the pick or, for a request with a body, from the moment when the endpoint has received it
    /// whole: how long a client takes to send says nothing about the endpoint. An upload that stands still is bounded by
    /// the idle timeout of the proxy in front.
    pub(super) struct PerTryTimer {
        // `None` is no limit: no timer runs then, and the clock is not read.
        limit: Option<(Duration, Instant)>,
        record: Arc<Record>,
        #[pin]
        timer: Timer,
    }
}

impl PerTryTimer {
    /// Returns the timer of an attempt that begins now.
    pub(super) fn new(limit: Option<Duration>, record: &Arc<Record>) -> Self {
        Self {
            limit: limit.map(|limit| (limit, Instant::now())),
            record: record.clone(),
            timer: Timer::default(),
        }
    }

    /// Completes once the time is over. Never without a limit.
    pub(super) fn poll_expired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let Some((limit, begun)) = *this.limit else {
            return Poll::Pending;
        };
        let record = &**this.record;
        // While the body is in transfer the time has not begun: if the upload ended now, it would run from now. The end
        // may come without waking this task, so the timer looks again when it fires.
        this.timer.poll_due(cx, || {
            let since = match record.upload().is_under_way() {
                true => Instant::now(),
                false => record.upload_moved().max(begun),
            };
            Some(after(since, limit))
        })
    }
}
