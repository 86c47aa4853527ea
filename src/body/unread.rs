//! A response body that its client does not read.
//!
//! A server asks for the next frame when the client's connection has room for it. When the client stops reading,
//! nothing polls the body any more, so no timer in the body can end the exchange: [`UnreadWatch`] looks at it from
//! outside, and lets the endpoint go.

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

/// The response bodies of a proxy that a client could leave unread.
///
/// One task looks after all of them. It is spawned with the first and ends with the last.
#[derive(Default)]
pub(crate) struct UnreadWatch {
    watched: Mutex<Watched>,
    /// Tells the task that the interval has become shorter.
    hurry: Notify,
}

#[derive(Default)]
struct Watched {
    bodies: Slab<Weak<dyn Unread>>,
    /// The time between two looks, by the shortest idle time of the bodies; `None` while no task looks at them.
    interval: Option<Duration>,
}

/// A body as the watch sees it.
trait Unread: Send + Sync {
    /// When the client will have left the body unread for too long; `None` while the client waits for the endpoint.
    fn due(&self) -> Option<Instant>;

    /// Drops the body and what it holds of its endpoint.
    fn let_go(&self);
}

impl UnreadWatch {
    /// How late the end of an unread body may be noticed, as a part of the idle time: looking costs little, but not
    /// nothing.
    const SLACK: u32 = 10;

    /// Has to be called on a runtime.
    fn add(self: &Arc<Self>, body: Weak<dyn Unread>, idle: Duration) -> usize {
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

    fn remove(&self, key: usize) {
        self.lock().bodies.try_remove(key);
    }

    /// Lets go what is due. Returns how long it is to the next look, or `None` if there is nothing left to look after.
    fn look(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut watched = self.lock();
        if watched.bodies.is_empty() {
            watched.interval = None;
            return None;
        }
        let interval = watched.interval;
        let bodies = watched.bodies.iter().filter_map(|(_, body)| body.upgrade());
        let bodies: Vec<_> = bodies
            .filter(|body| body.due().is_some_and(|due| due <= now))
            .collect();
        // What a body does when it is dropped is not for the lock.
        drop(watched);
        bodies.iter().for_each(|body| body.let_go());
        interval
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of a watch. When its runtime drops it half way, the next body gets another one.
struct LookAfter {
    watch: Arc<UnreadWatch>,
    ended: bool,
}

impl LookAfter {
    fn new(watch: &Arc<UnreadWatch>) -> Self {
        Self {
            watch: watch.clone(),
            ended: false,
        }
    }

    async fn run(mut self, first: Duration) {
        let mut interval = Some(first);
        while let Some(wait) = interval {
            // A shorter interval is heard of at once, and the look that comes too early for it does no harm.
            let _ = timeout(wait, self.watch.hurry.notified()).await;
            interval = self.watch.look();
        }
        self.ended = true;
    }
}

impl Drop for LookAfter {
    fn drop(&mut self) {
        // One that has ended has said so, and another may be at work by now.
        if !self.ended {
            self.watch.lock().interval = None;
        }
    }
}

/// A body that two own: the response, and the watch that may end it.
struct SharedBody<B> {
    slot: Mutex<Slot<B>>,
    deadlines: Deadlines,
    record: Arc<Record>,
}

struct Slot<B> {
    /// Taken out while it is polled, and for good when it is let go.
    body: Option<Pin<Box<B>>>,
    /// When the client had the last frame; `None` while it waits for the next one.
    unread_since: Option<Instant>,
}

impl<B> SharedBody<B> {
    fn lock(&self) -> MutexGuard<'_, Slot<B>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Send> Unread for SharedBody<B> {
    fn due(&self) -> Option<Instant> {
        self.deadlines.due(self.lock().unread_since?)
    }

    fn let_go(&self) {
        // While it is polled it is not there, and not due either.
        let body = self.lock().body.take();
        if body.is_some() {
            tracing::debug!(status = 408, "idle timeout: the client stopped reading");
            self.record.stop(ErrorKind::ClientNotReading);
        }
    }
}

pin_project! {
    /// A response body that lets its endpoint go when its client does not read it for the idle time.
    #[project = ReadProj]
    pub(crate) enum ReadBody<B> {
        Unwatched { #[pin] inner: B },
        Watched { shared: WatchedBody<B> },
    }
}

/// The response's part of a body that is watched.
pub(crate) struct WatchedBody<B> {
    body: Arc<SharedBody<B>>,
    watch: Arc<UnreadWatch>,
    key: usize,
    failed: bool,
}

impl<B> Drop for WatchedBody<B> {
    fn drop(&mut self) {
        self.watch.remove(self.key);
    }
}

/// What a server of HTTP/1 takes of a body whether its client reads or not: hyper buffers more.
const BUFFERED: u64 = 16 * 1024;

impl<B> ReadBody<B>
where
    B: Body<Data = Bytes, Error = Error> + Send + 'static,
{
    /// A body that needs no watch.
    pub(crate) fn unwatched(inner: B) -> Self {
        Self::Unwatched { inner }
    }

    /// Has `watch` look at the body, if its client could leave it unread. Over HTTP/1 a server buffers a short body
    /// whole; over HTTP/2 (`multiplexed`) a client may give no room for a single byte.
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

    /// Longer than it takes to notice.
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

    /// Then it is the endpoint that stands still, which has a deadline of its own.
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
