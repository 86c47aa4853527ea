//! Drives one connection from its first poll to its end: heeds what all connections are told, and ends one that is
//! quiet for too long.
//!
//! The ways in which a connection ends:
//!
//! - by itself: the client closed it, or HTTP said that it was the last exchange;
//! - asked by [`Stage`], or because it was quiet for too long: it ends when nothing is under way, after a GOAWAY over
//!   HTTP/2. A quiet client that does not close it within [`FAREWELL`] is dropped;
//! - dropped at once: an HTTP/1 head did not arrive in time, or the client has not said which version it speaks.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};

use super::activity::{Activity, QuietLimits};

/// How long a client may take to close a connection that was asked to end for being quiet.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a connection is idle before it gives back its buffers. Between two requests of a client that sends one
/// after the other they are kept.
const REST: Duration = Duration::from_secs(1);

/// What all connections are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Go on.
    Open,
    /// There is no place for another connection: end, if nothing has come for this long.
    Crowded(Duration),
    /// Tell the client that this connection ends, and answer what it has sent before it knew.
    Last,
    /// End as soon as nothing is under way.
    Close,
}

/// While connections are crowded, one that has carried a request stays for the usual idle time divided by this, at
/// least. One that has said nothing does not.
const OF_USE: u32 = 5;

/// Polls a connection, passes on what all connections are told, and ends it when it is quiet for too long.
pub(super) struct Drive<'a> {
    /// What the connection is doing.
    pub(super) activity: &'a Activity,
    /// How long it may be quiet.
    pub(super) limits: QuietLimits,
    /// What all connections are told.
    pub(super) stage: watch::Receiver<Stage>,
    /// Whether the connection is one of HTTP/2. `false` before its first bytes have arrived.
    pub(super) http2: bool,
}

/// What comes of asking a connection to end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// It ends when nothing is under way.
    Asked,
    /// It can be dropped.
    Drop,
}

/// Why [`Drive::run`] has returned.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended<T> {
    /// The connection has come to its end.
    Output(T),
    /// It has to be dropped as it is.
    Drop,
    /// It is idle, and can wait for its next request without the buffers of HTTP.
    Rest,
}

/// What [`Drive`] has to heed.
enum Event<T> {
    Output(T),
    Told,
    Alarm,
}

impl Drive<'_> {
    /// Polls a connection to its end, and asks for that end by `close`. If it `rests`, also returns when it has been
    /// idle for [`REST`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the connection where it is: the caller owns it.
    pub(super) async fn run<C: Future>(
        &mut self,
        mut connection: Pin<&mut C>,
        rests: bool,
        close: impl Fn(Pin<&mut C>) -> Close,
    ) -> Ended<C::Output> {
        let mut alarm = pin!(sleep_until(self.next_look(rests)));
        let mut asked = false;
        // The connection is polled once before it heeds the stage: hyper would end one of which it has read nothing,
        // although a request may have arrived.
        self.stage.mark_changed();
        loop {
            let has_to_close = match self.next(connection.as_mut(), alarm.as_mut()).await {
                Event::Output(output) => return Ended::Output(output),
                Event::Told => {
                    let has_to_close = self.has_to_close();
                    if has_to_close {
                        // A busy thread learns of the end before it learns of what has arrived on the sockets. Another
                        // turn has it look at those first.
                        yield_now().await;
                        let polled = poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx)));
                        if let Poll::Ready(output) = polled.await {
                            return Ended::Output(output);
                        }
                        self.activity.note_time();
                    }
                    has_to_close
                }
                // It has been asked already, or is in the middle of a head over HTTP/1, or has yet to say which
                // version it speaks.
                Event::Alarm if self.is_too_quiet() && (asked || !self.can_be_asked()) => {
                    return Ended::Drop;
                }
                Event::Alarm => {
                    let too_quiet = self.is_too_quiet();
                    if rests && !asked && !too_quiet && self.activity.idle_for() >= Some(REST) {
                        return Ended::Rest;
                    }
                    asked |= too_quiet;
                    let farewell = Instant::now() + FAREWELL.min(self.limits.idle);
                    let look = if too_quiet {
                        farewell
                    } else {
                        self.next_look(rests)
                    };
                    alarm.as_mut().reset(look);
                    too_quiet
                }
            };
            if has_to_close && close(connection.as_mut()) == Close::Drop {
                return Ended::Drop;
            }
        }
    }

    /// Polls the connection until it ends, or there is something to heed.
    ///
    /// A poll for the sake of the connection, two for each request, looks at the stage and the alarm and does not poll
    /// them: they have the waker already.
    async fn next<C: Future>(
        &self,
        mut connection: Pin<&mut C>,
        mut alarm: Pin<&mut Sleep>,
    ) -> Event<C::Output> {
        let mut stage = self.stage.clone();
        let mut told = pin!(stage.changed());
        let mut waker: Option<Waker> = None;
        poll_fn(|cx| {
            let is_told = matches!(self.stage.has_changed(), Ok(true));
            if is_told {
                // A response that is begun in this poll has to say so.
                self.note_last(*self.stage.borrow());
            }
            if let Poll::Ready(output) = connection.as_mut().poll(cx) {
                return Poll::Ready(Event::Output(output));
            }
            self.activity.note_time();
            let is_known = waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()));
            if is_known && !is_told && !alarm.is_elapsed() {
                return Poll::Pending;
            }
            waker = Some(cx.waker().clone());
            // Without a sender, nothing is told any more.
            if self.stage.has_changed().is_ok() && told.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Told);
            }
            alarm.as_mut().poll(cx).map(|()| Event::Alarm)
        })
        .await
    }

    /// Has the next response say that it is the last one, if the stage is one of the end.
    fn note_last(&self, stage: Stage) {
        if matches!(stage, Stage::Last | Stage::Close) {
            self.activity.set_last();
        }
    }

    /// Heeds what all connections are told. Returns whether this one has to be asked to end.
    fn has_to_close(&mut self) -> bool {
        let stage = *self.stage.borrow_and_update();
        self.note_last(stage);
        match stage {
            Stage::Open => false,
            Stage::Crowded(quiet) => {
                let of_use = quiet.max(self.limits.idle / OF_USE);
                self.activity.silent_for() >= Some(quiet)
                    || self.activity.idle_for() >= Some(of_use)
            }
            // Over HTTP/2, GOAWAY says that this is the end; over HTTP/1, the next response does.
            Stage::Last => self.http2,
            Stage::Close => true,
        }
    }

    /// Returns whether the connection can be asked to end: over HTTP/1 only between two requests.
    fn can_be_asked(&self) -> bool {
        self.http2 || self.activity.idle_for().is_some()
    }

    /// Returns whether the deadline has passed.
    fn is_too_quiet(&self) -> bool {
        let deadline = self.activity.deadline(self.limits);
        deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Returns the next time at which the connection may have been quiet for too long, or idle for long enough to rest,
    /// as far as is known now.
    ///
    /// An exchange may end, and the quiet begin, without waking this future, so the time is never later than one limit
    /// from now.
    fn next_look(&self, rests: bool) -> Instant {
        let now = Instant::now();
        let limit = self.limits.head.min(self.limits.idle);
        let soonest = now.checked_add(if rests { limit.min(REST) } else { limit });
        let deadline = self.activity.deadline(self.limits);
        let a_year = || now + Duration::from_secs(365 * 24 * 60 * 60);
        soonest
            .into_iter()
            .chain(deadline)
            .min()
            .unwrap_or_else(a_year)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending};

    use super::*;

    const LIMITS: QuietLimits = QuietLimits {
        head: Duration::from_secs(30),
        idle: Duration::from_secs(75),
    };

    /// When a connection that does not heed `close` is asked to end, and when it is dropped.
    async fn ends(
        activity: &Activity,
        stage: watch::Receiver<Stage>,
    ) -> (Option<Duration>, Duration) {
        ends_over(false, activity, stage).await
    }

    async fn ends_over(
        http2: bool,
        activity: &Activity,
        stage: watch::Receiver<Stage>,
    ) -> (Option<Duration>, Duration) {
        let start = Instant::now();
        let mut drive = Drive {
            activity,
            limits: LIMITS,
            stage,
            http2,
        };
        let asked = Cell::new(None);
        let mut connection = pin!(pending::<()>());
        let close = |_: Pin<&mut _>| {
            asked.set(asked.get().or(Some(start.elapsed())));
            Close::Asked
        };
        let ended = drive.run(connection.as_mut(), false, close).await;
        assert_eq!(ended, Ended::Drop);
        (asked.get(), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_dropped_when_the_time_of_a_head_is_over() {
        let (_tell, stage) = watch::channel(Stage::Open);
        assert_eq!(ends(&Activity::new(), stage).await, (None, LIMITS.head));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_said_no_more_than_a_preface_is_asked_by_then() {
        let (_tell, stage) = watch::channel(Stage::Open);
        let asked_and_dropped = (Some(LIMITS.head), LIMITS.head + FAREWELL);
        let ended = ends_over(true, &Activity::new(), stage).await;
        assert_eq!(ended, asked_and_dropped);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_client_is_asked_first() {
        let (_tell, stage) = watch::channel(Stage::Open);
        let activity = Activity::new();
        activity.await_request();
        let asked_and_dropped = (Some(LIMITS.idle), LIMITS.idle + FAREWELL);
        assert_eq!(ends(&activity, stage).await, asked_and_dropped);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_begins_late_has_its_whole_time() {
        let (_tell, stage) = watch::channel(Stage::Open);
        let activity = Activity::new();
        activity.await_request();
        let late = LIMITS.idle - Duration::from_secs(1);
        let begins = async {
            tokio::time::sleep(late).await;
            activity.received();
        };
        let (ended, ()) = tokio::join!(ends(&activity, stage), begins);
        assert_eq!(ended, (None, late + LIMITS.head));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exchange_is_not_quiet() {
        let (_tell, stage) = watch::channel(Stage::Open);
        let activity = Activity::new();
        activity.begin_exchange();
        let long = Duration::from_secs(1000);
        let exchange = async {
            tokio::time::sleep(long).await;
            activity.end_exchange();
        };
        let (ended, ()) = tokio::join!(ends(&activity, stage), exchange);
        assert_eq!(ended.0, Some(long + LIMITS.idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_ends_those_that_are_idle_for_long() {
        let (tell, stage) = watch::channel(Stage::Open);
        let activity = Activity::new();
        activity.await_request();
        let second = Duration::from_secs(1);
        let crowd = async {
            for _ in 0..LIMITS.idle.as_secs() {
                tokio::time::sleep(second).await;
                tell.send_replace(Stage::Crowded(second));
            }
        };
        let ((asked, _), ()) = tokio::join!(ends(&activity, stage), crowd);
        assert_eq!(asked, Some(LIMITS.idle / OF_USE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_ends_those_that_say_nothing_sooner() {
        let (tell, stage) = watch::channel(Stage::Open);
        let activity = Activity::new();
        let second = Duration::from_secs(1);
        let crowd = async {
            for _ in 0..10 {
                tokio::time::sleep(second / 2).await;
                tell.send_replace(Stage::Crowded(second));
            }
        };
        let ((asked, _), ()) = tokio::join!(ends(&activity, stage), crowd);
        assert_eq!(asked, Some(second));
    }
}
