//! The timer after which another endpoint is asked as well.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::{body::Timer, clock::after};

pin_project! {
    /// Measures how long an attempt has waited for its response head.
    ///
    /// Where nothing is hedged it is started for probes of silent endpoints alone, and the clock is not read otherwise.
    #[derive(Default)]
    pub(in crate::balance) struct HedgeTimer {
        begun: Option<Instant>,
        #[pin]
        timer: Timer,
    }
}

impl HedgeTimer {
    /// Completes once the attempt has waited for `delay`, from the first call on.
    pub(in crate::balance) fn poll_over(
        self: Pin<&mut Self>,
        delay: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let this = self.project();
        let begun = *this.begun.get_or_insert_with(Instant::now);
        this.timer.poll_due(cx, || Some(after(begun, delay)))
    }

    /// Returns how long the attempt has waited. `None` if it was answered at once, or if nothing is hedged.
    pub(in crate::balance) fn elapsed(self: Pin<&mut Self>) -> Option<Duration> {
        self.begun.map(|begun| begun.elapsed())
    }

    /// Begins anew, for another attempt.
    pub(super) fn reset(self: Pin<&mut Self>) {
        let this = self.project();
        *this.begun = None;
        this.timer.reset();
    }
}
