//! The limit for a stream of HTTP/2 whose client takes nothing.

use std::{
    cell::Cell,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

/// Spawns what hyper does for each stream, and drops it when its client takes nothing for too long: h2 then resets the
/// stream, and the endpoint's connection is free. Other streams of the connection go on.
///
/// A socket that takes nothing shows it; a stream whose window is shut does not. hyper holds a piece of the body then,
/// waits for the window, and does not poll the body. So the clock is outside of both.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    limit: Duration,
}

impl Streams {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        tokio::spawn(until_stalled(stream, self.limit));
    }
}

/// What a response body said when it was last polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There is nothing to send: whatever happens next is not up to the client.
    Server,
    /// There was a piece to send.
    Client,
}

thread_local! {
    /// The bodies that are polled within a stream's poll say it here, because hyper lies between the two.
    static SAID: Cell<Option<Turn>> = const { Cell::new(None) };
}

/// Says whose turn it is in the stream that is being polled.
pub(super) fn say(turn: Turn) {
    SAID.set(Some(turn));
}

/// Polls the stream to its end, or to the end of a time in which the client took nothing.
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
    end: Option<Instant>,
    /// Wakes no later than at the end. Moving it for every piece of a body would cost more than waking early.
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

    fn restart(&mut self, turn: Turn) {
        self.end = match turn {
            Turn::Server => None,
            Turn::Client => Instant::now().checked_add(self.limit),
        };
    }

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
