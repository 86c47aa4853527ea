//! A request body that can be sent again: [`Replay`].
//!
//! The client's body exists once, and every attempt needs one. So it is in a [`ReplaySource`], which the bodies of all
//! attempts share: each is a [`ReplayBody`], which yields first what was taken from the client's body before, and then
//! the rest of it.
//!
//! Only the body that was handed out last reads on. The others are superseded, and known by their generation: the
//! connection of an attempt that failed may still hold one, in a task of its own, and drop it at any time. A superseded
//! body is woken, fails when it is polled, and changes nothing when it is dropped; what the record says of the upload
//! belongs to the latest one (see [`Body::succeeded_by`]).
//!
//! Length and end of each body are those of the client's body, even if it has been read to its end: a request that was
//! sent in chunks is sent in chunks again, which a body that is followed by trailers needs.

use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, SizeHint};

use super::{slot::PolledBody, source::ReplaySource};
use crate::{body::Body, error::BoxError, record::Record};

/// Hands out the request body of one exchange for each attempt.
///
/// It is to be dropped as soon as no other attempt is possible, such as when the response head has arrived: that frees
/// what is kept. The latest body then goes on without keeping anything, also one that is half way through what was
/// kept.
///
/// # Cancel safety
///
/// While this exists, the client's body stays, also where an endpoint has dropped the body of its attempt half way.
/// Once this and the latest body have been dropped, the client's body is dropped, too, whatever still holds a
/// superseded one.
pub(crate) struct Replay {
    /// The exchange that the bodies are part of.
    record: Arc<Record>,
    /// What the bodies share. `None` if the request has no body: then they are empty, too.
    source: Option<Arc<ReplaySource>>,
}

/// The body of one attempt.
struct ReplayBody {
    source: Arc<ReplaySource>,
    generation: u32,
    /// The number of bytes of data that it has yielded.
    yielded: u64,
    /// Whether it has yielded an error, which its end follows.
    failed: bool,
}

impl Replay {
    /// Wraps `body`, that of the first attempt, so that up to `limit` bytes of data can be sent again.
    ///
    /// Leaves it as it is, and returns `None`, if it is known to be longer than `limit`; also if `limit` is 0, and it
    /// is not empty. An empty body is left as it is, too, with a `Replay` that hands out empty ones: neither allocates
    /// for the body.
    pub(crate) fn keep(body: &mut Body, limit: usize) -> Option<Self> {
        // The bodies of all attempts share one.
        let record = body.record().clone();
        if body.is_end_stream() {
            let source = None;
            return Some(Self { record, source });
        }
        if limit == 0 || body.size_hint().lower() > limit as u64 {
            return None;
        }
        let like = body.empty_like();
        let (client, on_sent) = mem::take(body).into_bare();
        let source = Arc::new(ReplaySource::new(client, on_sent, limit));
        *body = like.succeeded_by(ReplayBody::new(&source, 0));
        let source = Some(source);
        Some(Self { record, source })
    }

    /// Returns the body for another attempt, and supersedes the one before. The upload of the exchange begins anew. The
    /// body is part of no attempt yet.
    ///
    /// Returns `None` if that is no longer [possible](Self::is_possible).
    pub(crate) fn body(&mut self) -> Option<Body> {
        let empty = Body::empty().with_record(self.record.clone());
        let Some(source) = &self.source else {
            return Some(empty);
        };
        let generation = source.supersede()?;
        let body = ReplayBody::new(source, generation);
        Some(empty.succeeded_by(body))
    }

    /// Returns whether the body can be sent again: no more than the limit has been taken from the client's body, and it
    /// has not failed.
    pub(crate) fn is_possible(&self) -> bool {
        self.source
            .as_ref()
            .is_none_or(|source| source.is_replayable())
    }

    /// Returns whether the whole body has been taken from the client's body, and can be sent again. Then another
    /// attempt takes nothing away from the one in progress.
    pub(crate) fn is_whole(&self) -> bool {
        self.source.as_ref().is_none_or(|source| source.is_whole())
    }
}

impl Drop for Replay {
    /// Frees what is kept. The latest body goes on; if it has been dropped, the client's body is dropped, too.
    fn drop(&mut self) {
        if let Some(source) = &self.source {
            source.stop();
        }
    }
}

impl ReplayBody {
    /// Returns the body of a generation, which has to be the latest.
    fn new(source: &Arc<ReplaySource>, generation: u32) -> Self {
        Self {
            source: source.clone(),
            generation,
            yielded: 0,
            failed: false,
        }
    }
}

impl http_body::Body for ReplayBody {
    type Data = Bytes;
    type Error = BoxError;

    /// # Errors
    ///
    /// Those of the client's body, which make another attempt impossible. And that the body has been superseded.
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledBody {
        if self.failed {
            return Poll::Ready(None);
        }
        let polled = self.source.poll(self.generation, cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.yielded += frame.data_ref().map_or(0, Bytes::len) as u64;
            }
            Poll::Ready(Some(Err(_))) => self.failed = true,
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    /// As the client's body said after its last frame. One that learns later that there is none yields its end.
    fn is_end_stream(&self) -> bool {
        self.failed || self.source.is_read(self.generation)
    }

    /// What is left of the length that the client's body gave at first.
    fn size_hint(&self) -> SizeHint {
        let mut rest = SizeHint::new();
        if let Some(upper) = self.source.whole.upper() {
            rest.set_upper(upper.saturating_sub(self.yielded));
        }
        rest.set_lower(self.source.whole.lower().saturating_sub(self.yielded));
        rest
    }
}

impl Drop for ReplayBody {
    fn drop(&mut self) {
        self.source.dropped(self.generation);
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("empty", &self.source.is_none())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::{Wake, Waker},
    };

    use futures_util::{FutureExt, StreamExt, stream};
    use http::HeaderMap;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::record::{OnSent, Record, UploadState};

    const LIMIT: usize = 64;

    type Item = Result<Frame<Bytes>, BoxError>;

    fn data(text: &'static str) -> Item {
        Ok(Frame::data(text.into()))
    }

    fn trailers() -> Item {
        let fields = [("grade".parse().unwrap(), "7".parse().unwrap())];
        Ok(Frame::trailers(HeaderMap::from_iter(fields)))
    }

    /// A body of unknown length that yields these frames.
    fn streamed(frames: impl IntoIterator<Item = Item>) -> Body {
        let frames: Vec<_> = frames.into_iter().collect();
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    /// A body that yields these frames, and then nothing more.
    fn silent_after(frames: Vec<Item>) -> Body {
        let frames = stream::iter(frames).chain(stream::pending());
        Body::new(StreamBody::new(frames))
    }

    fn keep(mut body: Body, limit: usize) -> (Body, Option<Replay>) {
        let replay = Replay::keep(&mut body, limit);
        (body, replay)
    }

    fn wrap(body: Body) -> (Body, Replay) {
        let (body, replay) = keep(body, LIMIT);
        (body, replay.unwrap())
    }

    /// Returns the next frame, which has to be ready, as text. Trailers are in brackets.
    fn next(body: &mut Body) -> Option<Result<String, BoxError>> {
        let item = body.frame().now_or_never().expect("ready");
        item.map(|item| {
            item.map(|frame| match frame.into_data() {
                Ok(data) => String::from_utf8(data.to_vec()).unwrap(),
                Err(trailers) => format!("{:?}", trailers.into_trailers().unwrap()),
            })
        })
    }

    /// Reads all of a body.
    fn read(body: &mut Body) -> String {
        std::iter::from_fn(|| next(body).map(Result::unwrap)).collect()
    }

    fn is_pending(body: &mut Body) -> bool {
        body.frame().now_or_never().is_none()
    }

    /// Counts how often it is notified, or woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Relaxed)
        }
    }

    impl OnSent for Count {
        fn sent(&self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_body_is_sent_again_with_its_trailers() {
        let (mut first, mut replay) = wrap(streamed([data("ab"), data("cd"), trailers()]));
        assert_eq!(next(&mut first).unwrap().unwrap(), "ab");
        // Half way, from the beginning; and once more when all has been read.
        for _ in 0..2 {
            let mut again = replay.body().unwrap();
            assert_eq!(read(&mut again), "abcd{\"grade\": \"7\"}");
            assert!(again.is_end_stream() && next(&mut again).is_none());
        }
    }

    #[test]
    fn a_known_length_stays_the_length() {
        let (mut body, mut replay) = wrap(Body::from("hello"));
        for _ in 0..3 {
            assert_eq!(body.size_hint().exact(), Some(5));
            assert!(!body.is_end_stream());
            assert_eq!(next(&mut body).unwrap().unwrap(), "hello");
            assert_eq!(body.size_hint().exact(), Some(0));
            assert!(
                body.is_end_stream(),
                "no further poll is needed to see the end"
            );
            body = replay.body().unwrap();
        }
    }

    /// Or trailers would be lost: a message with `Content-Length` cannot have them.
    #[test]
    fn an_unknown_length_stays_unknown() {
        let (mut first, mut replay) = wrap(streamed([data("ab"), trailers()]));
        read(&mut first);
        let again = replay.body().unwrap();
        assert_eq!(again.size_hint().exact(), None);
        assert!(!again.is_end_stream());
    }

    #[test]
    fn an_empty_body_costs_nothing() {
        for limit in [0, LIMIT] {
            let (first, replay) = keep(Body::empty(), limit);
            let mut replay = replay.unwrap();
            assert!(first.is_end_stream() && replay.source.is_none());
            let mut again = replay.body().unwrap();
            assert!(again.is_end_stream() && replay.is_possible());
            let mut first = first;
            assert!(Arc::ptr_eq(first.record(), again.record()));
        }
    }

    /// It may say so only once it has been polled.
    #[test]
    fn a_body_that_turns_out_to_be_empty_is_sent_again_as_empty() {
        let (mut first, mut replay) = wrap(streamed([]));
        assert!(next(&mut first).is_none());
        let mut again = replay.body().unwrap();
        assert!(again.is_end_stream());
        assert_eq!(again.record().upload().state(), UploadState::None);
    }

    #[test]
    fn a_body_that_is_known_to_be_too_long_is_left_alone() {
        let long = "0123456789";
        assert!(keep(long.into(), 10).1.is_some());
        for limit in [0, 9] {
            let (mut body, replay) = keep(long.into(), limit);
            assert!(replay.is_none());
            assert_eq!(read(&mut body), long);
        }
    }

    #[test]
    fn past_the_limit_the_body_goes_on_alone() {
        let (first, replay) = keep(streamed([data("abc"), data("d"), data("e")]), 4);
        let (mut first, mut replay) = (first, replay.unwrap());
        next(&mut first);
        let mut again = replay.body().unwrap();
        next(&mut again);
        next(&mut again);
        assert!(replay.is_possible(), "exactly at the limit");
        assert_eq!(next(&mut again).unwrap().unwrap(), "e");
        assert!(!replay.is_possible() && replay.body().is_none());
        assert!(next(&mut again).is_none());
        assert_eq!(again.record().upload().state(), UploadState::Done);
    }

    #[test]
    fn a_client_that_fails_cannot_be_replayed() {
        let (mut first, mut replay) = wrap(streamed([data("ab"), Err("reset".into())]));
        next(&mut first);
        let mut again = replay.body().unwrap();
        assert_eq!(next(&mut again).unwrap().unwrap(), "ab");
        assert_eq!(next(&mut again).unwrap().unwrap_err().to_string(), "reset");
        assert_eq!(again.record().upload().state(), UploadState::Broken);
        assert!(!replay.is_possible() && replay.body().is_none());
        assert!(next(&mut again).is_none());
    }

    #[test]
    fn what_is_kept_is_freed_when_no_attempt_can_follow() {
        let [sent, unsent] = [b'a', b'b'].map(|byte| Bytes::from(vec![byte; 8 * 1024]));
        let frames = [&sent, &unsent].map(|data| Ok(Frame::data(data.clone())));
        let (mut first, replay) = keep(streamed(frames), 1024 * 1024);
        let mut replay = replay.unwrap();
        read(&mut first);
        let mut again = replay.body().unwrap();
        drop(first);
        next(&mut again);
        assert!(!sent.is_unique() && !unsent.is_unique());
        drop(replay);
        assert!(sent.is_unique() && !unsent.is_unique());
        assert_eq!(next(&mut again).unwrap().unwrap().len(), unsent.len());
        assert!(unsent.is_unique());
        assert!(again.is_end_stream());
    }

    /// A connection may drop its body late, or poll it once more.
    #[test]
    fn a_superseded_body_does_not_touch_the_upload() {
        let (mut first, mut replay) = wrap(silent_after(vec![data("ab")]));
        first.set_attempt(0, 1);
        let record: Arc<Record> = first.record().clone();
        let state = || record.upload().state();
        let own = Arc::<Count>::default();
        first.on_sent(own.clone());
        next(&mut first);
        assert!(is_pending(&mut first));
        assert_eq!(state(), UploadState::Wanted);

        let mut second = replay.body().unwrap();
        let next_own = Arc::<Count>::default();
        second.on_sent(next_own.clone());
        assert_eq!(state(), UploadState::Held);
        assert!(next(&mut first).unwrap().is_err());
        assert!(next(&mut first).is_none(), "an error is an end");
        assert_eq!(state(), UploadState::Held);
        drop(first);
        assert_eq!(
            (state(), own.get(), next_own.get()),
            (UploadState::Held, 1, 0)
        );

        next(&mut second);
        assert!(is_pending(&mut second));
        assert_eq!(state(), UploadState::Wanted);
        drop(second);
        assert_eq!((state(), next_own.get()), (UploadState::Done, 1));
        assert!(replay.body().is_some());
        assert_eq!((state(), next_own.get()), (UploadState::Done, 1));
    }

    /// Of which attempt it is part, and at what depth, is for the attempt to say.
    #[test]
    fn another_body_is_part_of_the_same_exchange() {
        let (mut first, mut replay) = wrap(streamed([data("ab")]));
        let mut again = replay.body().unwrap();
        assert_eq!((again.attempt(), again.depth()), (None, 0));
        assert!(Arc::ptr_eq(first.record(), again.record()));
    }

    /// To a cluster around this one, all attempts of this one are one upload.
    #[test]
    fn those_that_waited_before_hear_of_the_last_body() {
        let outer = |replayed: bool, ends: bool| {
            let mut body = silent_after(vec![data("ab")]);
            if ends {
                body = streamed([data("ab"), trailers()]);
            }
            let waits = Arc::<Count>::default();
            body.on_sent(waits.clone());
            let (mut last, mut replay) = wrap(body);
            next(&mut last);
            if replayed {
                let again = replay.body().unwrap();
                drop(std::mem::replace(&mut last, again));
                next(&mut last);
            }
            (waits, last, replay)
        };
        for replayed in [false, true] {
            let (waits, mut last, replay) = outer(replayed, true);
            assert_eq!(waits.get(), 0);
            read(&mut last);
            assert_eq!(waits.get(), 1, "sent to its end");
            drop((last, replay));
            assert_eq!(waits.get(), 1);

            let (waits, last, replay) = outer(replayed, false);
            drop(last);
            assert_eq!(waits.get(), 0, "another may follow");
            drop(replay);
            assert_eq!(waits.get(), 1);

            let (waits, last, replay) = outer(replayed, false);
            drop(replay);
            assert_eq!(waits.get(), 0, "it goes on");
            drop(last);
            assert_eq!(waits.get(), 1);
        }
    }

    /// A task that holds a superseded body would wait for nothing.
    #[test]
    fn a_superseded_body_is_woken() {
        let (mut first, mut replay) = wrap(silent_after(vec![]));
        let count = Arc::<Count>::default();
        let waker = Waker::from(count.clone());
        let polled = Pin::new(&mut first).poll_frame(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        let again = replay.body();
        assert_eq!(count.get(), 1);
        assert!(next(&mut first).unwrap().is_err());
        drop(again);
    }

    /// Dropped half way, in any order, nothing is left of the client's body.
    #[test]
    fn the_clients_body_is_dropped_with_the_last_that_could_read_it() {
        struct Held(#[expect(dead_code, reason = "it is dropped")] Arc<()>);
        let held = |alive: &Arc<()>| {
            let held = Held(alive.clone());
            let frames = stream::iter([data("ab"), data("cd")]).chain(stream::pending());
            Body::new(StreamBody::new(frames.inspect(move |_| {
                let _ = &held;
            })))
        };
        for replay_first in [true, false] {
            let alive = Arc::new(());
            let (mut superseded, mut replay) = wrap(held(&alive));
            next(&mut superseded);
            let mut latest = replay.body().unwrap();
            next(&mut latest);
            match replay_first {
                true => {
                    drop(replay);
                    assert_eq!(next(&mut latest).unwrap().unwrap(), "cd");
                    assert_eq!(Arc::strong_count(&alive), 2);
                    drop(latest);
                }
                false => {
                    drop(latest);
                    assert_eq!(Arc::strong_count(&alive), 2);
                    drop(replay);
                }
            }
            assert_eq!(Arc::strong_count(&alive), 1);
            assert!(next(&mut superseded).unwrap().is_err());
        }
    }

    type Step = Box<dyn FnMut() -> PolledBody + Send>;

    /// A body of the user's, each poll of which runs code of the user.
    struct Scripted(VecDeque<Step>);

    impl http_body::Body for Scripted {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> PolledBody {
            let step = self.0.pop_front();
            step.map_or(Poll::Ready(None), |mut step| step())
        }
    }

    /// What a body does that is superseded while it polls the client's body: it looks on as the second is handed out,
    /// and then returns `polled`. Returns both bodies, what the first one yielded, and how often the second was woken.
    fn superseded_while_polling(
        mut polled: impl FnMut() -> PolledBody + Send + 'static,
    ) -> (Body, Option<Body>, PolledBody, usize) {
        let replay = Arc::new(Mutex::new(None::<Replay>));
        let second = Arc::new(Mutex::new(None));
        let woken = Arc::<Count>::default();
        let step = {
            let (replay, second, woken) = (replay.clone(), second.clone(), woken.clone());
            move || {
                let mut body = replay.lock().unwrap().as_mut().unwrap().body().unwrap();
                assert_eq!(next(&mut body).unwrap().unwrap(), "ab");
                let waker = Waker::from(woken.clone());
                let waits = Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker));
                assert!(waits.is_pending(), "the first one is reading");
                *second.lock().unwrap() = Some(body);
                polled()
            }
        };
        let steps: [Step; 3] = [
            Box::new(|| Poll::Ready(Some(data("ab")))),
            Box::new(step),
            Box::new(|| Poll::Ready(Some(data("!")))),
        ];
        let (mut first, made) = wrap(Body::new(Scripted(steps.into())));
        *replay.lock().unwrap() = Some(made);
        next(&mut first);
        let mut cx = Context::from_waker(Waker::noop());
        let yielded = Pin::new(&mut first).poll_frame(&mut cx);
        let second = second.lock().unwrap().take();
        (first, second, yielded, woken.get())
    }

    #[test]
    fn a_frame_that_a_superseded_body_read_is_not_lost() {
        let read_on = || Poll::Ready(Some(data("cd")));
        let (first, second, yielded, woken) = superseded_while_polling(read_on);
        assert!(matches!(yielded, Poll::Ready(Some(Err(_)))));
        assert_eq!(woken, 1);
        drop(first);
        assert_eq!(read(&mut second.unwrap()), "cd!");
    }

    #[test]
    fn a_body_that_waited_for_a_superseded_one_reads_on() {
        let (first, second, yielded, woken) = superseded_while_polling(|| Poll::Pending);
        assert!(matches!(yielded, Poll::Ready(Some(Err(_)))));
        assert_eq!(woken, 1);
        drop(first);
        assert_eq!(read(&mut second.unwrap()), "!");
    }

    #[test]
    fn an_error_that_a_superseded_body_met_is_that_of_the_latest() {
        let fail = || Poll::Ready(Some(Err("reset".into())));
        let (_first, second, _, woken) = superseded_while_polling(fail);
        assert_eq!(woken, 1);
        let mut second = second.unwrap();
        assert_eq!(next(&mut second).unwrap().unwrap_err().to_string(), "reset");
        assert_eq!(second.record().upload().state(), UploadState::Broken);
    }

    #[test]
    fn a_body_that_panics_has_failed() {
        let steps: [Step; 1] = [Box::new(|| panic!("of the user"))];
        let (mut body, mut replay) = wrap(Body::new(Scripted(steps.into())));
        let panicked = catch_unwind(AssertUnwindSafe(|| next(&mut body)));
        assert!(panicked.is_err());
        assert!(!replay.is_possible() && replay.body().is_none());
        assert!(next(&mut body).unwrap().is_err());
        assert!(next(&mut body).is_none());
    }

    /// Frames of any size, superseded at any point: every body that is read to its end is the whole one.
    #[test]
    fn a_replay_is_never_partial() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let sizes: Vec<usize> = (0..random.usize(1..20))
                .map(|_| match random.u8(0..3) {
                    0 => random.usize(0..10),
                    1 => random.usize(0..1000),
                    _ => random.usize(4000..9000),
                })
                .collect();
            let content = Bytes::from_iter((0..sizes.iter().sum()).map(|_| random.u8(..)));
            let mut rest = content.clone();
            let frames = sizes
                .iter()
                .map(|size| Ok(Frame::data(rest.split_to(*size))));
            let limit = random.usize(1..=2 * content.len().max(1));
            let (mut body, replay) = keep(streamed(frames), limit);
            let mut replay = replay.unwrap();
            // What the latest body has yielded.
            let mut read = Vec::new();
            for _ in 0..random.usize(0..4) {
                for _ in 0..random.usize(0..sizes.len() + 2) {
                    let frame = body.frame().now_or_never().unwrap();
                    read.extend(
                        frame
                            .into_iter()
                            .flat_map(|frame| frame.unwrap().into_data().unwrap()),
                    );
                }
                if let Some(again) = replay.body() {
                    body = again;
                    read.clear();
                }
            }
            if random.bool() {
                drop(replay);
            }
            let rest = body.collect().now_or_never().unwrap().unwrap();
            read.extend(rest.to_bytes());
            assert!(content == read, "seed {seed}");
        }
    }
}
