//! What a connection is doing, and until when it may go on like that.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// Shared by the socket, the service and the task of one connection, which take notes in it. Nothing here is a timer:
/// the task asks for the deadline when the last one it knew has passed, so a request costs no timer of its own.
#[derive(Debug)]
pub(crate) struct Activity {
    start: Instant,
    /// Exchanges that have begun and not ended. HTTP/2 has many at a time.
    exchanges: AtomicUsize,
    /// The client does not take what has been written.
    blocked: AtomicBool,
    /// No response head has been written for an exchange of HTTP/1.
    unanswered: AtomicBool,
    /// What is awaited while there is no exchange: one of `FIRST`, `REST` and `NEXT`.
    awaited: AtomicU8,
    /// Since when, in milliseconds from the start.
    since: AtomicU64,
    /// Responses of HTTP/1 tell the client that the connection closes.
    last: AtomicBool,
}

/// The first byte of the connection.
const FIRST: u8 = 0;
/// The rest of a head.
const REST: u8 = 1;
/// The first byte of the next head.
const NEXT: u8 = 2;

/// How long a connection may be quiet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuietLimits {
    /// From the start of a connection, or the first byte of a head, to the end of that head.
    pub(crate) head: Duration,
    /// Without a request.
    pub(crate) idle: Duration,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            exchanges: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            unanswered: AtomicBool::new(false),
            awaited: AtomicU8::new(FIRST),
            since: AtomicU64::new(0),
            last: AtomicBool::new(false),
        }
    }

    /// When the connection has been quiet for too long. `None` while there is an exchange, or a client that has not
    /// taken all of its response: those have limits of their own.
    pub(crate) fn deadline(&self, limits: QuietLimits) -> Option<Instant> {
        let limit = match self.awaited.load(Relaxed) {
            NEXT => limits.idle,
            _ => limits.head,
        };
        self.quiet_since()?.checked_add(limit)
    }

    /// How long the first byte has been awaited. `None` if it has arrived.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        self.awaited_for(FIRST)
    }

    /// How long the next request has been awaited. `None` while something else is.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        self.awaited_for(NEXT)
    }

    fn awaited_for(&self, what: u8) -> Option<Duration> {
        let this = self.awaited.load(Relaxed) == what;
        let since = if this { self.quiet_since() } else { None };
        since.map(|since| since.elapsed())
    }

    /// Whether a part of a head has arrived, and the rest is awaited.
    pub(crate) fn is_in_head(&self) -> bool {
        self.awaited.load(Relaxed) == REST
    }

    fn quiet_since(&self) -> Option<Instant> {
        let busy = self.exchanges.load(Relaxed) > 0 || self.blocked.load(Relaxed);
        let since = Duration::from_millis(self.since.load(Relaxed));
        (!busy).then(|| self.start + since)
    }

    /// Notes that bytes have arrived, over HTTP/1: between two exchanges they are the beginning of a head.
    pub(crate) fn received(&self) {
        if self.exchanges.load(Relaxed) == 0 && !self.is_in_head() {
            self.begin_to_await(REST);
        }
    }

    /// Notes that the connection waits for a request of which no part has arrived.
    pub(crate) fn await_request(&self) {
        self.begin_to_await(NEXT);
    }

    fn begin_to_await(&self, what: u8) {
        let elapsed = self.start.elapsed().as_millis();
        let since = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.since.store(since, Relaxed);
        self.awaited.store(what, Relaxed);
    }

    /// Notes whether the client takes what is written.
    pub(crate) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Relaxed);
    }

    /// Notes the beginning of an exchange.
    pub(crate) fn begin_exchange(&self) {
        self.exchanges.fetch_add(1, Relaxed);
        self.unanswered.store(true, Relaxed);
        self.awaited.store(NEXT, Relaxed);
    }

    /// Notes that the response head of an exchange is known.
    pub(crate) fn answered(&self) {
        self.unanswered.store(false, Relaxed);
    }

    /// Notes the end of an exchange, when the last byte of its response is known or it was given up.
    pub(crate) fn end_exchange(&self) {
        if self.exchanges.fetch_sub(1, Relaxed) == 1 {
            self.await_request();
        }
    }

    /// Whether a response head is owed, and no byte of it has been written. Only true over HTTP/1.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.exchanges.load(Relaxed) > 0 && self.unanswered.load(Relaxed)
    }

    /// Makes the next response the last one of the connection.
    pub(crate) fn set_last(&self) {
        self.last.store(true, Relaxed);
    }

    pub(crate) fn is_last(&self) -> bool {
        self.last.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const HEAD: Duration = Duration::from_secs(30);
    const IDLE: Duration = Duration::from_secs(75);

    fn left(activity: &Activity) -> Option<Duration> {
        let limits = QuietLimits {
            head: HEAD,
            idle: IDLE,
        };
        activity.deadline(limits).map(|end| end - Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_has_the_time_of_a_head_in_all() {
        let activity = Activity::new();
        assert_eq!(left(&activity), Some(HEAD));
        advance(Duration::from_secs(10)).await;
        assert_eq!(left(&activity), Some(HEAD - Duration::from_secs(10)));
        assert!(!activity.is_in_head());
        activity.received();
        assert_eq!(left(&activity), Some(HEAD));
        assert!(activity.is_in_head());
        // More bytes of the same head get no more time.
        advance(Duration::from_secs(10)).await;
        activity.received();
        assert_eq!(left(&activity), Some(HEAD - Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn exchanges_have_no_deadline_here_and_what_follows_is_idle() {
        let activity = Activity::new();
        activity.begin_exchange();
        activity.begin_exchange();
        assert_eq!(left(&activity), None);
        activity.end_exchange();
        assert_eq!(left(&activity), None);
        advance(Duration::from_secs(100)).await;
        activity.end_exchange();
        assert_eq!(left(&activity), Some(IDLE));
        advance(Duration::from_secs(5)).await;
        assert_eq!(activity.idle_for(), Some(Duration::from_secs(5)));
        activity.received();
        assert_eq!(left(&activity), Some(HEAD));
        assert_eq!(activity.idle_for(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_still_reads_is_not_idle() {
        let activity = Activity::new();
        activity.begin_exchange();
        activity.set_blocked(true);
        activity.end_exchange();
        assert_eq!(left(&activity), None);
        activity.set_blocked(false);
        assert_eq!(left(&activity), Some(IDLE));
    }
}
