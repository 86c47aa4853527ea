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
//! - [`UnreadWatch`], one per proxy, holds weak references to all of them. [`LookAfter`] is its only task: it wakes at
//!   intervals, and not once per body and deadline.
//!
//! The states of a shared body:
//!
//! - *Awaited*: a poll is pending, so the client waits for the endpoint. The watch leaves it alone; the deadlines of
//!   [`DeadlineBody`](super::DeadlineBody) count.
//! - *Unread*: a frame was yielded, or nothing has been polled yet. The idle time of the client runs. The next poll
//!   leads to *Awaited*, or begins *Unread* anew.
//! - *Released*: the watch has dropped the endpoint's body. The next poll fails with [`ErrorKind::ClientNotReading`],
//!   and every later one returns the end.
//!
//! No lock is held while a body is polled or dropped, since either may run code of the user. Only [`UnreadWatch::look`]
//! holds two locks at a time: that of the watch, then that of a body.
//!
//! The client's connection is not closed here: the proxy has no access to it. The server's own limit on writes has to
//! do that; `examples/gateway` shows one.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use slab::Slab;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::Deadlines;
use crate::{
    error::{Error, ErrorKind},
    record::Record,
};

/// The response bodies of a proxy that a client could leave unread, shared by the clones of the proxy.
///
/// One task looks at all of them. It is spawned with the first body, on the runtime that adds it, and ends when no body
/// is left.
#[derive(Default)]
pub(crate) struct UnreadWatch {
    watched: Mutex<Watched>,
    /// Notifies the task that the interval has become shorter.
    hurry: Notify,
}

/// The part of the watch that is behind its lock.
#[derive(Default)]
struct Watched {
    /// The bodies, by the key that [`UnreadWatch::add`] returned. A [`WatchedBody`] removes its own when it is dropped.
    bodies: Slab<Weak<dyn Unread>>,
    /// The time between two looks, from the shortest idle time of the bodies. `None` while there is no task.
    ///
    /// It becomes shorter when a new body needs it, and does not become longer until all bodies have ended.
    interval: Option<Duration>,
}

/// A body as the watch sees it, whatever its type.
trait Unread: Send + Sync {
    /// Returns when the client will have left the body unread for too long. `None` while the client waits for the
    /// endpoint.
    fn due(&self) -> Option<Instant>;

    /// Drops the endpoint's body, and with it what the exchange holds of the endpoint.
    fn let_go(&self);
}

impl UnreadWatch {
    /// The interval is the shortest idle time divided by this, so that an unread body is noticed at most a tenth of the
    /// idle time late. A look is cheap, but it locks each body.
    const SLACK: u32 = 10;

    /// Adds a body with this idle time, and returns its key. Spawns the task if there is none.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, if the task has to be spawned.
    fn add(self: &Arc<Self>, body: Weak<dyn Unread>, idle: Duration) -> usize {
        // tokio's timers have a resolution of a millisecond.
        let wanted = (idle / Self::SLACK).max(Duration::from_millis(1));
        let mut watched = self.lock();
        let key = watched.bodies.insert(body);
        let before = watched.interval;
        if before.is_none_or(|interval| wanted < interval) {
            watched.interval = Some(wanted);
            drop(watched);
            match before {
                Some(_) => self.hurry.notify_one(),
                None => drop(tokio::spawn(LookAfter::new(self).run(wanted))),
            }
        }
        key
    }

    /// Removes a body.
    fn remove(&self, key: usize) {
        self.lock().bodies.try_remove(key);
    }

    /// Releases the endpoints of all bodies that are due. Returns the time until the next look, or `None` if no body is
    /// left and the task has to end.
    fn look(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut watched = self.lock();
        if watched.bodies.is_empty() {
            watched.interval = None;
            return None;
        }
        let interval = watched.interval;
        // No body is dropped with these references: a `WatchedBody` gives its own up only after it has been removed,
        // and the removal waits for this lock.
        let bodies = watched.bodies.iter().filter_map(|(_, body)| body.upgrade());
        let bodies: Vec<_> = bodies
            .filter(|body| body.due().is_some_and(|due| due <= now))
            .collect();
        // Dropping an endpoint's body may run code of the user.
        drop(watched);
        bodies.iter().for_each(|body| body.let_go());
        interval
    }

    /// Locks the bodies. Each change under the lock is complete in itself, so a poisoned lock is used as it is.
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of a watch.
///
/// A runtime that is shut down drops it half way, while the proxy may live on in another runtime. The next body that is
/// added spawns another task then, which looks at all bodies.
struct LookAfter {
    watch: Arc<UnreadWatch>,
    /// Whether the task has ended by itself, in which case [`UnreadWatch::look`] has cleared the interval.
    ended: bool,
}

impl LookAfter {
    /// Returns the task, which is not running yet.
    fn new(watch: &Arc<UnreadWatch>) -> Self {
        Self {
            watch: watch.clone(),
            ended: false,
        }
    }

    /// Looks at the bodies at intervals, the first time after `first`, until none is left.
    async fn run(mut self, first: Duration) {
        let mut interval = Some(first);
        while let Some(wait) = interval {
            // The task hears of a shorter interval at once. The look that comes too early for it does no harm.
            let _ = timeout(wait, self.watch.hurry.notified()).await;
            interval = self.watch.look();
        }
        self.ended = true;
    }
}

impl Drop for LookAfter {
    /// Clears the interval if the task was dropped half way, so that the next body spawns another.
    fn drop(&mut self) {
        // After a regular end, the interval may be that of the next task.
        if !self.ended {
            self.watch.lock().interval = None;
        }
    }
}

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
}

impl<B: Send> Unread for SharedBody<B> {
    fn due(&self) -> Option<Instant> {
        self.deadlines.due(self.lock().unread_since?)
    }

    fn let_go(&self) {
        // A body that is being polled is not in its slot, and is left alone. One that has been polled since it was
        // found due is dropped all the same: its client had used up its time.
        let body = self.lock().body.take();
        if body.is_some() {
            tracing::debug!(status = 408, "idle timeout: the client stopped reading");
            // Before the body is dropped, at the end of this function: that drop decides the outcome of the attempt.
            self.record.stop(ErrorKind::ClientNotReading);
        }
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
    /// HTTP/2 (`multiplexed`) a client may give no room for a single byte. A body that has no idle deadline is not
    /// watched, even if it has a total one.
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
        let Some(idle) = deadlines.idle.filter(|_| multiplexed || !short) else {
            return Self::unwatched(inner);
        };
        if inner.is_end_stream() {
            return Self::unwatched(inner);
        }
        let slot = Slot {
            body: Some(Box::pin(inner)),
            unread_since: Some(Instant::now()),
        };
        let body = Arc::new(SharedBody {
            slot: Mutex::new(slot),
            deadlines,
            record,
        });
        let weak: Weak<SharedBody<B>> = Arc::downgrade(&body);
        let key = watch.add(weak, idle);
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
        let body = {
            let mut slot = self.body.lock();
            slot.unread_since = None;
            slot.body.take()
        };
        let Some(mut body) = body else {
            let first = !std::mem::replace(&mut self.failed, true);
            return Poll::Ready(first.then(|| Err(Error::new(ErrorKind::ClientNotReading))));
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

impl fmt::Debug for UnreadWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnreadWatch")
            .field("bodies", &self.lock().bodies.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
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
            self.watch.lock().bodies.len()
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
        assert_eq!(watch.lock().bodies.len(), 0);
        advance(IDLE).await;
        pass(0.2).await;
        assert_eq!(Arc::strong_count(&watch), 1, "the task has ended");
        assert_eq!(watch.lock().interval, None);
    }
}
