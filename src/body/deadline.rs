//! The clock of bodies and tunnels: a timer whose deadline may move, and the deadlines of an exchange after its head.
//!
//! [`Timer`] is the mechanism. It is used wherever an idle time is measured: by the response body (`response.rs`), by
//! the wait for the response head (`forward/head_timer.rs`) and by tunnels (`tunnel/relay.rs`). [`Deadlines`] are the
//! values that bound a response body, computed when its head arrives.
//!
//! A deadline that moves with each frame is not moved in the timer. The timer stays armed for the time that was known
//! when it was set; when it fires, it asks for the deadline again, and is armed once more if that is still ahead. A
//! busy exchange thus costs one timer per idle time, and not one per frame.
//!
//! Nothing here decides what happens when a deadline passes. Deadlines before the response head are not here either:
//! `forward/head_timer.rs` computes those. All times are of tokio's clock.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
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
    /// States:
    ///
    /// - *Unarmed*: no sleep is set, because nothing has been waited for yet, because there is no deadline, or after a
    ///   [reset](Self::reset). It costs nothing.
    /// - *Armed*: a sleep runs until the deadline that was last seen.
    ///
    /// It is polled outside of tokio's cooperative budget. An exchange that has used the budget of its turn, because
    /// the other side sends without a pause, would otherwise never see its deadline pass.
    #[derive(Default)]
    pub(crate) struct Timer {
        #[pin]
        sleep: Option<Unconstrained<Sleep>>,
    }
}

impl Timer {
    /// Completes once the time that `due` returns has come. Stays pending for as long as `due` returns `None`.
    ///
    /// `due` is called when an unarmed timer is polled and each time that the timer fires, not on each poll. A deadline
    /// that has moved away is therefore noticed when the timer fires. One that has come nearer is not noticed before
    /// the old one: after such a change, the timer has to be [reset](Self::reset).
    ///
    /// While `due` returns `None` no waker is registered: a later deadline is seen only if the task is polled for
    /// another reason.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime whose time driver is enabled.
    pub(crate) fn poll_due(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        due: impl Fn() -> Option<Instant>,
    ) -> Poll<()> {
        let mut sleep = self.project().sleep;
        loop {
            let fired = match sleep.as_mut().as_pin_mut() {
                Some(armed) => {
                    ready!(armed.poll(cx));
                    true
                }
                None => false,
            };
            match due() {
                // A timer that is armed for the first time is polled next, and reads the clock itself.
                Some(due) if !fired || due > Instant::now() => {
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

    /// Forgets the deadline that was last seen, so that the next poll asks for it again.
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
        [idle, self.total].into_iter().flatten().min()
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
