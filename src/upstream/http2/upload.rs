//! Request bodies on their way to an endpoint of HTTP/2.
//!
//! hyper sends each by a task of its own, which waits for the endpoint's windows and knows nothing of the response.
//! What is known here goes around it: that an upload stands still, and that its exchange is over.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::{Body as _, Frame, SizeHint};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::settings::settles;
use crate::{body::Body, error::BoxError};

/// How long no upload of a connection may move before other requests go elsewhere. The endpoint may have closed the
/// window of the whole connection, as servers do whose windows for a stream and for the connection are the same.
const STILL: Duration = Duration::from_secs(1);

/// How long an upload may go on after its response has ended, as nginx's `lingering_time`.
const LINGER: Duration = Duration::from_secs(30);

/// The uploads of one connection.
#[derive(Debug)]
pub(super) struct Uploads {
    opened: Instant,
    /// How many have given a frame away and have not been asked for the next: they wait for the endpoint.
    held: AtomicUsize,
    /// Milliseconds from `opened` to the last movement of any.
    moved: AtomicU64,
    /// The upload whose body hyper polls for the first time, in the call that will spawn its task.
    starting: Mutex<Option<Arc<Pipe>>>,
}

impl Uploads {
    pub(super) fn new(opened: Instant) -> Self {
        Self {
            opened,
            held: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            starting: Mutex::default(),
        }
    }

    /// Puts a watch on a request's body; `None` where there is none.
    pub(super) fn watch(
        self: &Arc<Self>,
        request: Request<Body>,
        started: Instant,
    ) -> (Request<Body>, Option<Arc<Pipe>>) {
        if request.body().is_end_stream() {
            return (request, None);
        }
        let pipe = Arc::<Pipe>::default();
        let request = request.map(|body| {
            body.wrap(|inner| UploadBody {
                inner,
                uploads: self.clone(),
                pipe: pipe.clone(),
                stage: PipeStage::New,
                started,
                broken: None,
            })
        });
        (request, Some(pipe))
    }

    /// Whether uploads wait for the endpoint and none has moved for a while.
    pub(super) fn stand_still(&self) -> bool {
        self.held.load(Relaxed) > 0
            && self.opened.elapsed() >= STILL + Duration::from_millis(self.moved.load(Relaxed))
    }

    fn touch(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Relaxed);
    }

    /// Tells the upload that is being started, if there is one, which task sends it.
    pub(super) fn started(&self, task: &AbortHandle) {
        if let Some(pipe) = self.starting().take() {
            // It was empty: each upload starts once.
            let _ = pipe.task.set(task.clone());
        }
    }

    /// Nothing that can panic runs under the lock.
    fn starting(&self) -> MutexGuard<'_, Option<Arc<Pipe>>> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending of one upload, seen from its response.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    task: OnceLock<AbortHandle>,
    ended: AtomicBool,
    end: Notify,
}

impl Pipe {
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Acquire)
    }

    /// Lets the upload go on for a while after its response.
    pub(super) async fn linger(&self) {
        tokio::select! {
            () = self.end.notified() => {}
            () = sleep(LINGER) => {}
        }
        self.abort();
    }

    /// Resets the stream, if it has not ended: h2 does so when nobody holds it any more.
    pub(super) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// A request body that is watched.
struct UploadBody {
    inner: Body,
    uploads: Arc<Uploads>,
    pipe: Arc<Pipe>,
    stage: PipeStage,
    /// When the stream was opened.
    started: Instant,
    /// The client's error, which resets the stream, and the timer that keeps it back because it came too early.
    broken: Option<(BoxError, Pin<Box<Sleep>>)>,
}

type UploadPoll = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum PipeStage {
    /// Not asked for anything yet.
    New,
    /// A frame was given away, and waits for the endpoint.
    Held,
    /// The next frame is wanted.
    Wanted,
}

impl UploadBody {
    /// Ready with the error once its time has come.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> UploadPoll {
        if let Some((_, settled)) = &mut self.broken {
            ready!(settled.as_mut().poll(cx));
        }
        Poll::Ready(self.broken.take().map(|(error, _)| Err(error)))
    }

    fn enter(&mut self, stage: PipeStage) {
        let held = &self.uploads.held;
        match (self.stage, stage) {
            (PipeStage::Held, PipeStage::Held) => {}
            (PipeStage::Held, _) => drop(held.fetch_sub(1, Relaxed)),
            (_, PipeStage::Held) => drop(held.fetch_add(1, Relaxed)),
            _ => {}
        }
        self.stage = stage;
    }
}

impl http_body::Body for UploadBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> UploadPoll {
        let this = &mut *self;
        if this.broken.is_some() {
            return this.poll_broken(cx);
        }
        if this.stage == PipeStage::New {
            *this.uploads.starting() = Some(this.pipe.clone());
        }
        this.enter(PipeStage::Wanted);
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        match (frame, settles(this.started)) {
            (Some(Err(error)), Some(settled)) => {
                this.broken = Some((error, Box::pin(sleep_until(settled))));
                this.poll_broken(cx)
            }
            (Some(Ok(frame)), _) => {
                this.uploads.touch();
                this.enter(PipeStage::Held);
                Poll::Ready(Some(Ok(frame)))
            }
            (ended, _) => Poll::Ready(ended),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        self.enter(PipeStage::Wanted);
        self.uploads.touch();
        // A body that was all there at once needed no task.
        self.uploads
            .starting()
            .take_if(|starting| Arc::ptr_eq(starting, &self.pipe));
        self.pipe.ended.store(true, Release);
        self.pipe.end.notify_one();
    }
}
