//! The timer of the per-try timeout.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    clock::{Timer, after},
    record::Record,
};

/// Completes when one attempt has waited for its response head for too long.
///
/// The time runs from the pick or, for a request with a body, from the moment when the endpoint has received it whole:
/// how long a client takes to send says nothing about the endpoint. An upload that stands still is bounded by the idle
/// timeout of the proxy in front.
#[derive(Default)]
pub(super) struct PerTryTimer(Option<Box<PerTryClock>>);

/// A timer with a limit. Boxed, so that it costs nothing where there is none.
struct PerTryClock {
    limit: Duration,
    begun: Instant,
    record: Arc<Record>,
    timer: Timer,
}

impl PerTryTimer {
    /// Returns the timer of an attempt that begins now. `None` is no limit.
    pub(super) fn new(limit: Option<Duration>, record: &Arc<Record>) -> Self {
        Self(limit.map(|limit| {
            Box::new(PerTryClock {
                limit,
                begun: Instant::now(),
                record: record.clone(),
                timer: Timer::default(),
            })
        }))
    }

    /// Completes once the time is over. Never without a limit.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(running) = &mut self.0 else {
            return Poll::Pending;
        };
        let PerTryClock {
            limit,
            begun,
            record,
            timer,
        } = &mut **running;
        // While the body is in transfer the time has not begun: if the upload ended now, it would run from now. The end
        // may come without waking this task, so the timer looks again when it fires.
        timer.poll_due(cx, || {
            let since = match record.upload().is_under_way() {
                true => Instant::now(),
                false => record.upload_moved().max(*begun),
            };
            Some(after(since, *limit))
        })
    }
}
