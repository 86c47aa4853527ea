//! The limit for an HTTP/2 stream whose client does not read its response.
//!
//! A socket that takes nothing is noticed by the kernel. A stream whose window is closed is not: hyper holds a piece of
//! the body then, waits for the window, and does not poll the body. So the clock is outside of both, around the task
//! that hyper spawns for the stream, and learns from the body ([`say`]) what the stream waits for.

use std::{
    cell::Cell,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::{Activity, Exchange};

/// Spawns what hyper does for each stream of a connection, and drops it when its client takes nothing for too long. h2
/// then resets the stream, and the endpoint's connection is released. Other streams of the connection go on.
///
/// hyper also spawns the sending side of each tunnel through it. Its response has ended, so that nothing else would say
/// that the connection is in use.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    /// The longest time in which a client takes nothing.
    limit: Duration,
    /// What the connection is doing.
    activity: Arc<Activity>,
}

impl Streams {
    /// Returns the executor of a connection, with this limit.
    pub(crate) fn new(limit: Duration, activity: Arc<Activity>) -> Self {
        Self { limit, activity }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let (task, limit) = (Exchange::begin_task(&self.activity), self.limit);
        tokio::spawn(async move {
            let _task = task;
            until_stalled(stream, limit).await;
        });
    }
}

/// What a response body yielded when it was last polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing: whatever happens next is not up to the client.
    Server,
    /// A piece, which the client has to take.
    Client,
}

thread_local! {
    /// What the body that is polled within a stream's poll has said. hyper lies between the two, and a poll does not
    /// leave its thread.
    static SAID: Cell<Option<Turn>> = const { Cell::new(None) };
}

/// Says whose turn it is in the stream that is being polled.
pub(super) fn say(turn: Turn) {
    SAID.set(Some(turn));
}

/// Polls the stream to its end, or until its client has taken nothing for the limit.
async fn until_stalled<F: Future>(stream: F, limit: Duration) {
    let mut stream = pin!(stream);
    let mut clock = Clock::new(limit);
    std::future::poll_fn(|cx| {
        SAID.set(None);
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Some(turn) = SAID.take() {
            clock.restart(turn);
        }
        clock.poll(cx)
    })
    .await;
}

/// Runs while it is the client's turn.
struct Clock {
    limit: Duration,
    /// When the client's time is over. `None` while it is the server's turn.
    end: Option<Instant>,
    /// Wakes the stream no later than at the end. Moving it for every piece of a body would cost more than waking
    /// early.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            end: None,
            alarm: None,
        }
    }

    /// Begins a turn.
    fn restart(&mut self, turn: Turn) {
        self.end = match turn {
            Turn::Server => None,
            Turn::Client => Instant::now().checked_add(self.limit),
        };
    }

    /// Completes when the client's time is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(end) = self.end else {
            return Poll::Pending;
        };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(end)));
        while alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                tracing::debug!("the client does not take its response; stream reset");
                return Poll::Ready(());
            }
            alarm.as_mut().reset(end);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A stream that says what it is told to, and waits.
    async fn stream(mut told: mpsc::UnboundedReceiver<Turn>) {
        while let Some(turn) = told.recv().await {
            say(turn);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (tell, told) = mpsc::unbounded_channel();
        let start = Instant::now();
        tell.send(Turn::Client).unwrap();
        until_stalled(stream(told), LIMIT).await;
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn each_piece_that_is_taken_begins_the_time_again() {
        let (tell, told) = mpsc::unbounded_channel();
        let start = Instant::now();
        let ended = Arc::new(Mutex::new(None));
        let set = Arc::clone(&ended);
        let task = tokio::spawn(async move {
            until_stalled(stream(told), LIMIT).await;
            *set.lock().unwrap() = Some(start.elapsed());
        });
        for _ in 0..10 {
            tell.send(Turn::Client).unwrap();
            tokio::time::sleep(LIMIT / 2).await;
        }
        task.await.unwrap();
        // The last one was sent at half a limit before the end of the loop.
        assert_eq!(*ended.lock().unwrap(), Some(LIMIT * 9 / 2 + LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_with_nothing_to_send_may_take_its_time() {
        let (tell, told) = mpsc::unbounded_channel();
        tell.send(Turn::Client).unwrap();
        tell.send(Turn::Server).unwrap();
        let waits = timeout(LIMIT * 100, until_stalled(stream(told), LIMIT)).await;
        assert!(waits.is_err());
        drop(tell);
    }
}
