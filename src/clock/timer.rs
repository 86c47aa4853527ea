//! [`Timer`], whose deadline may move while it runs.

use std::{
    fmt,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;

use super::timer_queue::QueuedTimer;

/// A timer whose deadline may move while it runs.
///
/// It is used wherever a deadline is measured: by the response body (`body/response.rs`), by the wait for the response
/// head (`forward/head_timer.rs`), by tunnels (`tunnel/relay.rs`) and by attempts (`balance/`).
///
/// A deadline that moves with each frame is not moved in the timer. The timer stays armed for the time that was known
/// when it was set; when it fires, it asks for the deadline again, and is armed once more if that is still ahead. A
/// busy exchange thus costs one timer per idle time, and not one per frame.
///
/// States:
///
/// - *Unarmed*: nothing has been waited for yet, there is no deadline, or the timer has completed.
/// - *Armed*: the timer is in the queue of a thread (see `timer_queue.rs`), with the deadline that was last seen.
///
/// It fires within tokio's resolution of a millisecond, and never too early.
///
/// It takes nothing from tokio's cooperative budget. An exchange that has used the budget of its turn, because the
/// other side sends without a pause, would otherwise never see its deadline pass.
///
/// # Cancel safety
///
/// Dropping an armed timer removes it from its queue, with the waker.
#[derive(Default)]
pub(crate) struct Timer {
    queued: Option<QueuedTimer>,
}

impl Timer {
    /// Completes once the time that `due` returns has come. Stays pending for as long as `due` returns `None`.
    ///
    /// `due` is called when an unarmed timer is polled and each time that the timer fires, not on each poll. A deadline
    /// that has moved away is therefore noticed when the timer fires. One that has come nearer is not noticed before
    /// the old one.
    ///
    /// A timer that has completed is unarmed, and asks for the deadline when it is polled again.
    ///
    /// While `due` returns `None` no waker is registered: a later deadline is seen only if the task is polled for
    /// another reason.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime whose time driver is enabled.
    pub(crate) fn poll_due(
        &mut self,
        cx: &mut Context<'_>,
        due: impl Fn() -> Option<Instant>,
    ) -> Poll<()> {
        if let Some(queued) = &self.queued {
            ready!(queued.poll_fired(cx.waker()));
            self.queued = None;
        }
        let Some(due) = due() else {
            return Poll::Pending;
        };
        self.queued = QueuedTimer::new(due, cx.waker());
        match self.queued {
            Some(_) => Poll::Pending,
            None => Poll::Ready(()),
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("armed", &self.queued.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        future::{Future, poll_fn},
        pin::pin,
        time::Duration,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_move_away_and_be_taken_back() {
        let start = Instant::now();
        let due = Cell::new(Some(start + Duration::from_secs(1)));
        let looks = Cell::new(0);
        let mut timer = Timer::default();
        poll_fn(|cx| {
            timer.poll_due(cx, || {
                looks.set(looks.get() + 1);
                if looks.get() == 2 {
                    due.set(Some(start + Duration::from_secs(5)));
                }
                due.get()
            })
        })
        .await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));

        let never = poll_fn(|cx| timer.poll_due(cx, || None));
        assert!(
            tokio::time::timeout(Duration::from_secs(9), never)
                .await
                .is_err()
        );
    }

    /// A task that has spent its budget still sees its deadline.
    #[tokio::test(start_paused = true)]
    async fn a_busy_exchange_sees_its_deadline() {
        let mut timer = Timer::default();
        let due = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        let fired = poll_fn(|cx| {
            // Takes all of the budget of this turn.
            while tokio::task::coop::has_budget_remaining() {
                let mut spent = pin!(tokio::task::consume_budget());
                if spent.as_mut().poll(cx).is_pending() {
                    break;
                }
            }
            Poll::Ready(timer.poll_due(cx, || Some(due)).is_ready())
        });
        assert!(fired.await);
    }

    /// The same, for a timer that was armed in time.
    #[tokio::test(start_paused = true)]
    async fn a_busy_exchange_sees_its_timer_fire() {
        let mut timer = Timer::default();
        let due = Instant::now() + Duration::from_secs(1);
        let armed = poll_fn(|cx| Poll::Ready(timer.poll_due(cx, || Some(due))));
        assert!(armed.await.is_pending());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let fired = poll_fn(|cx| {
            while tokio::task::coop::has_budget_remaining() {
                let mut spent = pin!(tokio::task::consume_budget());
                if spent.as_mut().poll(cx).is_pending() {
                    break;
                }
            }
            Poll::Ready(timer.poll_due(cx, || Some(due)).is_ready())
        });
        assert!(fired.await);
    }
}
