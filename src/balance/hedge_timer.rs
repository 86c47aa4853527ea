//! The timer after which another endpoint is asked as well.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::clock::{Timer, after};

/// Measures how long an attempt has waited for its response head.
///
/// Where nothing is hedged it is never started: the clock is not read, and nothing is allocated.
#[derive(Default)]
pub(super) struct HedgeTimer(Option<HedgeClock>);

/// A timer that has been started.
struct HedgeClock {
    begun: Instant,
    timer: Timer,
}

impl HedgeTimer {
    /// Completes once the attempt has waited for `delay`, from the first call on.
    pub(super) fn poll_over(&mut self, delay: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let HedgeClock { begun, timer } = self.0.get_or_insert_with(|| HedgeClock {
            begun: Instant::now(),
            timer: Timer::default(),
        });
        timer.poll_due(cx, || Some(after(*begun, delay)))
    }

    /// Returns how long the attempt has waited. `None` if it was answered at once, or if nothing is hedged.
    pub(super) fn elapsed(&self) -> Option<Duration> {
        self.0.as_ref().map(|running| running.begun.elapsed())
    }

    /// Begins anew, for another attempt.
    pub(super) fn reset(&mut self) {
        self.0 = None;
    }
}
