//! The one clock of bodies and tunnels: idle and total deadlines.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{
    task::coop::{Unconstrained, unconstrained},
    time::{Instant, Sleep, sleep_until},
};

use crate::{clock::after, error::ErrorKind, record::Record};

pin_project! {
    /// A timer whose deadline may move while it runs.
    ///
    /// It is polled outside of tokio's budget: an exchange that has spent the budget of its turn, because the other
    /// side sends without a pause, would otherwise never see its deadline pass.
    #[derive(Default)]
    pub(crate) struct Timer {
        #[pin]
        sleep: Option<Unconstrained<Sleep>>,
    }
}

impl Timer {
    /// Ready once the time that `due` says has come; pending for as long as it says `None`.
    ///
    /// A deadline that has moved away is noticed when the timer fires. One that has come nearer is not: after that, the
    /// timer has to be [reset](Self::reset).
    pub(crate) fn poll_due(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        due: impl Fn() -> Option<Instant>,
    ) -> Poll<()> {
        let mut sleep = self.project().sleep;
        loop {
            if let Some(armed) = sleep.as_mut().as_pin_mut() {
                if armed.poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            match due() {
                Some(due) if due > Instant::now() => {
                    sleep.set(Some(unconstrained(sleep_until(due))));
                }
                Some(_) => return Poll::Ready(()),
                None => {
                    sleep.set(None);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Forgets the deadline that was last set.
    pub(crate) fn reset(self: Pin<&mut Self>) {
        self.project().sleep.set(None);
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("armed", &self.sleep.is_some())
            .finish()
    }
}

/// What still bounds an exchange once the response head is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines {
    /// Longest time in which neither body moves.
    pub(crate) idle: Option<Duration>,
    /// When everything must be over.
    pub(crate) total: Option<Instant>,
    /// The exchange, if its upload goes on: while that moves, a response that waits for it is not idle.
    pub(crate) upload: Option<Arc<Record>>,
}

impl Deadlines {
    /// When the next deadline is due for an exchange that has been still since `since`.
    pub(super) fn due(&self, since: Instant) -> Option<Instant> {
        let moved = self.upload.as_ref().map(|record| record.upload_moved());
        let since = moved.map_or(since, |moved| since.max(moved));
        let idle = self.idle.map(|idle| after(since, idle));
        [idle, self.total].into_iter().flatten().min()
    }

    /// Whether the total time is over.
    pub(super) fn is_over(&self) -> bool {
        self.total.is_some_and(|total| total <= Instant::now())
    }

    /// The deadline that has passed, when one has.
    pub(super) fn passed(&self) -> ErrorKind {
        if self.is_over() {
            ErrorKind::TotalTimeout
        } else {
            ErrorKind::IdleTimeout
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, pin::pin};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_move_away_and_be_taken_back() {
        let start = Instant::now();
        let due = Cell::new(Some(start + Duration::from_secs(1)));
        let looks = Cell::new(0);
        let mut timer = pin!(Timer::default());
        std::future::poll_fn(|cx| {
            timer.as_mut().poll_due(cx, || {
                looks.set(looks.get() + 1);
                if looks.get() == 2 {
                    due.set(Some(start + Duration::from_secs(5)));
                }
                due.get()
            })
        })
        .await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));

        timer.as_mut().reset();
        let never = std::future::poll_fn(|cx| timer.as_mut().poll_due(cx, || None));
        assert!(
            tokio::time::timeout(Duration::from_secs(9), never)
                .await
                .is_err()
        );
    }

    /// A task that has spent its budget still sees its deadline.
    #[tokio::test(start_paused = true)]
    async fn a_busy_exchange_sees_its_deadline() {
        let mut timer = pin!(Timer::default());
        let due = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        let fired = std::future::poll_fn(|cx| {
            // Takes all of the budget of this turn.
            while tokio::task::coop::has_budget_remaining() {
                let mut spent = pin!(tokio::task::consume_budget());
                if spent.as_mut().poll(cx).is_pending() {
                    break;
                }
            }
            Poll::Ready(timer.as_mut().poll_due(cx, || Some(due)).is_ready())
        });
        assert!(fired.await);
    }
}
