//! What a connection is doing, and until when it may go on doing it.
//!
//! An [`Activity`] is shared by the socket, the service and the task of one connection. The socket and the service
//! record what happens; the task asks for the deadline. All of them run in the same task, except for the streams of
//! HTTP/2, so the atomics are relaxed: a value that is read too early is read again when the next deadline has passed.
//!
//! A connection awaits, in turn:
//!
//! - the first byte, then the rest of the head, for the head timeout;
//! - the end of its exchanges, without a limit here: those have limits of their own;
//! - the next request, for the idle timeout. Its first byte leads back to the rest of a head.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// What one connection is doing. Nothing in here is a timer: the task asks for the deadline when the last one that it
/// knew has passed, so a request costs no timer of its own.
#[derive(Debug)]
pub(crate) struct Activity {
    /// When the connection was accepted.
    start: Instant,
    /// The number of exchanges that have begun and not ended. HTTP/2 has many at a time.
    exchanges: AtomicUsize,
    /// Whether the client does not take what has been written.
    blocked: AtomicBool,
    /// Whether the response head of an HTTP/1 exchange is still unknown.
    unanswered: AtomicBool,
    /// What is awaited while there is no exchange: one of `FIRST`, `NEW_REST`, `REST` and
    /// `NEXT`.
    awaited: AtomicU8,
    /// Since when it is awaited, in milliseconds from the start.
    since: AtomicU64,
    /// Whether responses over HTTP/1 tell the client that the connection closes.
    last: AtomicBool,
}

/// The first byte of the connection.
const FIRST: u8 = 0;
/// The rest of a head whose first bytes were read in this poll of the connection.
const NEW_REST: u8 = 1;
/// The rest of a head.
const REST: u8 = 2;
/// The first byte of the next head.
const NEXT: u8 = 3;

/// How long a connection may be quiet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuietLimits {
    /// From the start of a connection, or the first byte of a head, to the end of that head.
    pub(crate) head: Duration,
    /// Without a request.
    pub(crate) idle: Duration,
}

impl Activity {
    /// Returns the activity of a connection that was accepted now.
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

    /// Returns when the connection will have been quiet for too long. `None` while there is an exchange, or a client
    /// that has not taken all of its response: those have limits of their own.
    pub(crate) fn deadline(&self, limits: QuietLimits) -> Option<Instant> {
        let limit = match self.awaited.load(Relaxed) {
            NEXT => limits.idle,
            _ => limits.head,
        };
        self.quiet_since()?.checked_add(limit)
    }

    /// Returns how long the first byte of the connection has been awaited. `None` if it has arrived.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        self.awaited_for(FIRST)
    }

    /// Returns how long the next request has been awaited. `None` while something else is awaited.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        self.awaited_for(NEXT)
    }

    /// Returns how long `what` has been awaited, if it is what is awaited and nothing is under way.
    fn awaited_for(&self, what: u8) -> Option<Duration> {
        let this = self.awaited.load(Relaxed) == what;
        let since = if this { self.quiet_since() } else { None };
        since.map(|since| since.elapsed())
    }

    /// Returns whether a part of a head has arrived, and the rest is awaited.
    pub(crate) fn is_in_head(&self) -> bool {
        matches!(self.awaited.load(Relaxed), NEW_REST | REST)
    }

    /// Returns since when nothing has been under way.
    fn quiet_since(&self) -> Option<Instant> {
        let busy = self.exchanges.load(Relaxed) > 0 || self.blocked.load(Relaxed);
        let since = Duration::from_millis(self.since.load(Relaxed));
        (!busy).then(|| self.start + since)
    }

    /// Records that bytes have arrived over HTTP/1: between two exchanges they are the beginning of a head.
    ///
    /// Most heads are complete with them, so the time is left for [`note_time`](Self::note_time) to record.
    pub(crate) fn received(&self) {
        if self.exchanges.load(Relaxed) == 0 && !self.is_in_head() {
            self.awaited.store(NEW_REST, Relaxed);
        }
    }

    /// Records since when the rest of a head is awaited, if it has not been recorded. To be called when the connection
    /// has been polled.
    pub(crate) fn note_time(&self) {
        if self.awaited.load(Relaxed) == NEW_REST {
            self.begin_to_await(REST);
        }
    }

    /// Records that the connection waits for a request of which no part has arrived.
    pub(crate) fn await_request(&self) {
        self.begin_to_await(NEXT);
    }

    /// Records that `what` is awaited from now on.
    fn begin_to_await(&self, what: u8) {
        let elapsed = self.start.elapsed().as_millis();
        let since = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.since.store(since, Relaxed);
        self.awaited.store(what, Relaxed);
    }

    /// Records whether the client takes what is written.
    pub(crate) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Relaxed);
    }

    /// Records the beginning of an exchange.
    pub(super) fn begin_exchange(&self) {
        self.exchanges.fetch_add(1, Relaxed);
        self.unanswered.store(true, Relaxed);
        self.awaited.store(NEXT, Relaxed);
    }

    /// Records the beginning of a part of an exchange, which counts as one of its own.
    fn begin_part(&self) {
        self.exchanges.fetch_add(1, Relaxed);
    }

    /// Records that the response head of an exchange is known.
    pub(crate) fn answered(&self) {
        self.unanswered.store(false, Relaxed);
    }

    /// Records the end of an exchange, or of a part of one: the last byte of its response is known, or it was given up.
    pub(super) fn end_exchange(&self) {
        if self.exchanges.fetch_sub(1, Relaxed) == 1 {
            self.await_request();
        }
    }

    /// Returns whether a response head is owed, and no byte of it has been written. Only meaningful over HTTP/1.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.exchanges.load(Relaxed) > 0 && self.unanswered.load(Relaxed)
    }

    /// Makes the next response the last one of the connection.
    pub(crate) fn set_last(&self) {
        self.last.store(true, Relaxed);
    }

    /// Returns whether the next response is the last one of the connection.
    pub(crate) fn is_last(&self) -> bool {
        self.last.load(Relaxed)
    }
}

/// An exchange in progress, or a part of one. Its end is recorded when this is dropped, wherever that happens.
#[derive(Debug)]
pub(super) struct Exchange(Arc<Activity>);

impl Exchange {
    /// Records the beginning of an exchange.
    pub(super) fn begin(activity: Arc<Activity>) -> Self {
        activity.begin_exchange();
        Self(activity)
    }

    /// Records the beginning of the upload, which ends for itself: it may outlive the response, and what the client
    /// sends in the meantime is no head.
    pub(super) fn begin_upload(&self) -> Self {
        self.0.begin_part();
        Self(Arc::clone(&self.0))
    }

    /// Records the beginning of a task of HTTP/2, for a stream or for the tunnel that has become of one.
    pub(super) fn begin_task(activity: &Arc<Activity>) -> Self {
        activity.begin_part();
        Self(Arc::clone(activity))
    }

    /// Returns the activity of the connection.
    pub(super) fn activity(&self) -> &Activity {
        &self.0
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.end_exchange();
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
        activity.note_time();
        assert_eq!(left(&activity), Some(HEAD));
        assert!(activity.is_in_head());
        // More bytes of the same head get no more time.
        advance(Duration::from_secs(10)).await;
        activity.received();
        activity.note_time();
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
        activity.note_time();
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
