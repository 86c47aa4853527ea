//! Releases the endpoint of a response that its client does not read.
//!
//! A server polls a response body when the client's connection has room for the next frame. When the client stops
//! reading, nothing polls the body any more, so no timer inside of it can end the exchange: the endpoint's connection
//! and its count of requests in flight would stay occupied for as long as the client likes. [`UnreadWatch`] looks at
//! such bodies from outside, and drops the endpoint's body when the client has not asked for a frame for the idle time.
//!
//! How the parts work together:
//!
//! - [`ReadBody`] is the response body that the server gets. One that a client could leave unread is shared with the
//!   watch.
//! - [`SharedBody`] owns the endpoint's body, and knows when the client got its last frame. While the body is polled,
//!   it is taken out of its lock.
//! - [`UnreadWatch`], one per proxy, holds weak references to all of them, and looks at them at intervals.
//!
//! The states of a shared body:
//!
//! - *Awaited*: a poll is pending, so the client waits for the endpoint. The watch leaves it alone; the deadlines of
//!   [`DeadlineBody`](super::DeadlineBody) count.
//! - *Unread*: a frame was yielded, or nothing has been polled yet. The idle time of the client runs. The next poll
//!   leads to *Awaited*, or begins *Unread* anew.
//! - *Released*: the watch has dropped the endpoint's body. The next poll fails with [`ErrorKind::ClientNotReading`],
//!   or [`ErrorKind::TotalTimeout`] if that had passed, and every later one returns the end.
//!
//! No lock is held while a body is polled or dropped, since either may run code of the user. Only a look of
//! the watch holds two locks at a time: that of the watch, then that of a body.
//!
//! The client's connection is not closed here: the proxy has no access to it. The server's own limit on writes has to
//! do that; `examples/gateway` shows one.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{
    Deadlines,
    unread_watch::{Unread, UnreadWatch},
};
use crate::{
    error::{Error, ErrorKind},
    record::Record,
};

/// An endpoint's body with two owners: the response, which polls it, and the watch, which may drop it.
struct SharedBody<B> {
    slot: Mutex<Slot<B>>,
    /// The idle time is that of the client here. A request body that still moves counts as movement. The total deadline
    /// is part of it, so a body that is unread when that passes is due as well.
    deadlines: Deadlines,
    /// Where it is recorded that the client stopped reading.
    record: Arc<Record>,
}

/// The body, and since when the client has not asked for more of it.
struct Slot<B> {
    /// `None` while the body is polled, and for good once it has been released.
    body: Option<Pin<Box<B>>>,
    /// Why the body has been released.
    released: Option<ErrorKind>,
    /// When the client got the last frame, or when the head was ready. `None` while the client waits for the next
    /// frame.
    unread_since: Option<Instant>,
}

impl<B> SharedBody<B> {
    /// Locks the slot. A body that panics in `size_hint` leaves the slot as it was, so a poisoned lock is used as it
    /// is.
    fn lock(&self) -> MutexGuard<'_, Slot<B>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the client has left the body of `slot` unread for too long.
    fn is_overdue(&self, slot: &Slot<B>, now: Instant) -> bool {
        let due = slot
            .unread_since
            .and_then(|since| self.deadlines.due(since));
        due.is_some_and(|due| due <= now)
    }
}

impl<B: Send> Unread for SharedBody<B> {
    fn is_due(&self, now: Instant) -> bool {
        self.is_overdue(&self.lock(), now)
    }

    fn let_go(&self, now: Instant) {
        let mut slot = self.lock();
        if !self.is_overdue(&slot, now) {
            return;
        }
        // A body that is being polled is not in its slot, and is left alone.
        let Some(body) = slot.body.take() else { return };
        let kind = match self.deadlines.is_over() {
            true => ErrorKind::TotalTimeout,
            false => ErrorKind::ClientNotReading,
        };
        slot.released = Some(kind);
        drop(slot);
        let _entered = self.record.enter();
        tracing::debug!(error = %Error::new(kind), "response not read");
        // Before the body is dropped: that drop decides the outcome of the attempt.
        self.record.stop(kind);
        drop(body);
    }
}

pin_project! {
    /// A response body that releases its endpoint when the client does not read it for the idle time.
    #[project = ReadProj]
    pub(crate) enum ReadBody<B> {
        // A client cannot leave it unread, or it has no idle deadline.
        Unwatched { #[pin] inner: B },
        // The endpoint's body is shared with the watch.
        Watched { shared: WatchedBody<B> },
    }
}

/// The response's part of a body that is watched.
///
/// Its drop removes the body from the watch, and then drops the endpoint's body, whose only other owner is a look that
/// is under way.
pub(crate) struct WatchedBody<B> {
    body: Arc<SharedBody<B>>,
    watch: Arc<UnreadWatch>,
    /// The key of the body in the watch.
    key: usize,
    /// Whether the error of a released body has been yielded. The end follows it.
    failed: bool,
}

impl<B> Drop for WatchedBody<B> {
    fn drop(&mut self) {
        self.watch.remove(self.key);
    }
}

/// The length in bytes up to which a server of HTTP/1 takes a whole body, whether its client reads or not. hyper
/// buffers more than this.
const BUFFERED: u64 = 16 * 1024;

impl<B> ReadBody<B>
where
    B: Body<Data = Bytes, Error = Error> + Send + 'static,
{
    /// Returns a body that needs no watch.
    pub(crate) fn unwatched(inner: B) -> Self {
        Self::Unwatched { inner }
    }

    /// Has `watch` look at the body if its client could leave it unread.
    ///
    /// Over HTTP/1 a server buffers a short body whole, so the endpoint is released without the client's help. Over
    /// HTTP/2 (`multiplexed`) a client may give no room for a single byte. A body without a deadline is not watched.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, if the body is the first to be watched.
    pub(crate) fn watched_by(
        watch: &Arc<UnreadWatch>,
        inner: B,
        deadlines: Deadlines,
        record: Arc<Record>,
        multiplexed: bool,
    ) -> Self {
        let short = inner
            .size_hint()
            .upper()
            .is_some_and(|most| most <= BUFFERED);
        if inner.is_end_stream() || (short && !multiplexed) {
            return Self::unwatched(inner);
        }
        let now = Instant::now();
        let Some(due) = deadlines.due(now) else {
            return Self::unwatched(inner);
        };
        let slot = Slot {
            body: Some(Box::pin(inner)),
            released: None,
            unread_since: Some(now),
        };
        let body = Arc::new(SharedBody {
            slot: Mutex::new(slot),
            deadlines,
            record,
        });
        let weak: Weak<SharedBody<B>> = Arc::downgrade(&body);
        let key = watch.add(weak, due.saturating_duration_since(now));
        Self::Watched {
            shared: WatchedBody {
                body,
                watch: watch.clone(),
                key,
                failed: false,
            },
        }
    }
}

impl<B> WatchedBody<B>
where
    B: Body<Data = Bytes, Error = Error>,
{
    /// Polls the body outside of its lock.
    ///
    /// A body that panics is not put back, and counts as released.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let (body, released) = {
            let mut slot = self.body.lock();
            slot.unread_since = None;
            (slot.body.take(), slot.released)
        };
        let Some(mut body) = body else {
            let first = !std::mem::replace(&mut self.failed, true);
            let kind = released.unwrap_or(ErrorKind::ResponseBody);
            return Poll::Ready(first.then(|| Err(Error::new(kind))));
        };
        let polled = body.as_mut().poll_frame(cx);
        let mut slot = self.body.lock();
        slot.unread_since = polled.is_ready().then(Instant::now);
        slot.body = Some(body);
        polled
    }

    /// Returns what `look` reads from the body, or `None` if the body has been released.
    fn look<T>(&self, look: impl FnOnce(&B) -> T) -> Option<T> {
        self.body.lock().body.as_deref().map(look)
    }
}

impl<B> Body for ReadBody<B>
where
    B: Body<Data = Bytes, Error = Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.project() {
            ReadProj::Unwatched { inner } => inner.poll_frame(cx),
            ReadProj::Watched { shared } => shared.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Unwatched { inner } => inner.is_end_stream(),
            Self::Watched { shared } => shared.look(Body::is_end_stream).unwrap_or(shared.failed),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Unwatched { inner } => inner.size_hint(),
            Self::Watched { shared } => shared.look(Body::size_hint).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
    use tokio::time::advance;

    use super::*;

    const IDLE: Duration = Duration::from_secs(100);

    type TestBody = UnsyncBoxBody<Bytes, Error>;

    /// A body that always has another frame.
    fn endless() -> TestBody {
        let frames = std::iter::repeat_with(|| Ok(Frame::data("x".into())));
        StreamBody::new(stream::iter(frames)).boxed_unsync()
    }

    fn silent() -> TestBody {
        StreamBody::new(stream::pending()).boxed_unsync()
    }

    struct Exchange {
        watch: Arc<UnreadWatch>,
        record: Arc<Record>,
        body: Pin<Box<ReadBody<TestBody>>>,
    }

    fn exchange(body: TestBody, multiplexed: bool) -> Exchange {
        exchange_in(Arc::default(), IDLE, body, multiplexed)
    }

    fn exchange_in(
        watch: Arc<UnreadWatch>,
        idle: Duration,
        body: TestBody,
        multiplexed: bool,
    ) -> Exchange {
        let record = Arc::<Record>::default();
        let deadlines = Deadlines {
            idle: Some(idle),
            ..Deadlines::default()
        };
        let body = ReadBody::watched_by(&watch, body, deadlines, record.clone(), multiplexed);
        Exchange {
            watch,
            record,
            body: Box::pin(body),
        }
    }

    impl Exchange {
        fn watched(&self) -> usize {
            self.watch.len()
        }

        fn stopped(&self) -> Option<ErrorKind> {
            self.record.stopped()
        }
    }

    /// Lets this many idle times pass. A tenth more than one is enough for the watch to notice.
    async fn pass(idles: f64) {
        tokio::time::sleep(IDLE.mul_f64(idles)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_lets_the_endpoint_go() {
        let mut exchange = exchange(endless(), false);
        exchange.body.frame().await.unwrap().unwrap();
        pass(0.9).await;
        assert_eq!(exchange.stopped(), None);
        pass(0.3).await;
        assert_eq!(exchange.stopped(), Some(ErrorKind::ClientNotReading));
        let error = exchange.body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ClientNotReading);
        assert!(exchange.body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_body_ends_at_the_total_deadline() {
        let (watch, record) = (Arc::<UnreadWatch>::default(), Arc::<Record>::default());
        let deadlines = Deadlines {
            total: Some(Instant::now() + IDLE / 10),
            ..Deadlines::default()
        };
        let body = ReadBody::watched_by(&watch, endless(), deadlines, record.clone(), true);
        let mut body = Box::pin(body);
        body.frame().await.unwrap().unwrap();
        pass(0.12).await;
        assert_eq!(record.stopped(), Some(ErrorKind::TotalTimeout));
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TotalTimeout);
    }

    /// Each request may have an idle time of its own.
    #[tokio::test(start_paused = true)]
    async fn the_shortest_idle_time_is_kept() {
        let long = exchange(endless(), false);
        pass(0.05).await;
        let short = exchange_in(long.watch.clone(), IDLE / 100, endless(), false);
        pass(0.012).await;
        assert_eq!(short.stopped(), Some(ErrorKind::ClientNotReading));
        assert_eq!(long.stopped(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_begins_to_read_is_the_same() {
        let exchange = exchange(
            Full::new("x".into())
                .map_err(|never| match never {})
                .boxed_unsync(),
            true,
        );
        pass(1.2).await;
        assert_eq!(exchange.stopped(), Some(ErrorKind::ClientNotReading));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_has_the_idle_time_for_each_frame() {
        let mut exchange = exchange(endless(), false);
        for _ in 0..5 {
            exchange.body.frame().await.unwrap().unwrap();
            pass(0.8).await;
        }
        assert_eq!(exchange.stopped(), None);
    }

    /// The endpoint stands still here, which has a deadline of its own.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_waits_is_not_one_that_does_not_read() {
        let mut exchange = exchange(silent(), false);
        assert!(futures_util::poll!(exchange.body.frame()).is_pending());
        pass(3.0).await;
        assert_eq!(exchange.stopped(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn short_bodies_are_watched_over_http2_alone() {
        let short = || {
            Full::new("x".into())
                .map_err(|never| match never {})
                .boxed_unsync()
        };
        assert_eq!(exchange(short(), false).watched(), 0);
        assert_eq!(exchange(short(), true).watched(), 1);
        assert_eq!(exchange(endless(), false).watched(), 1);
    }

    /// Dropped half way, a body is no longer watched, and the task ends with the last one.
    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_of_a_body_that_is_dropped() {
        let Exchange { watch, body, .. } = exchange(endless(), false);
        drop(body);
        assert_eq!(watch.len(), 0);
        advance(IDLE).await;
        pass(0.2).await;
        assert_eq!(Arc::strong_count(&watch), 1, "the task has ended");
        assert!(!watch.is_running());
    }
}
