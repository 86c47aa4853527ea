//! Request bodies on their way to an HTTP/2 endpoint.
//!
//! hyper sends each body in a task of its own, which waits for the endpoint's windows and knows nothing of the
//! response. That leaves three things to this file, which wraps every request body in an [`UploadBody`]:
//!
//! - **Uploads that stand still.** An endpoint may close the window of the whole connection by not reading one upload.
//!   [`Uploads`] knows when the uploads of a connection last moved, so that new requests can take another connection.
//!   Those already on it cannot be helped.
//! - **Uploads without a use.** When an exchange is over or cancelled, [`Pipe`] aborts the task, which resets the
//!   stream.
//! - **Uploads that break.** The error of a client's body resets the stream; [`UploadBody`] holds it back for the first
//!   50 ms of the stream (`settings.rs` explains why).
//!
//! Stages of an upload, by what hyper last did ([`PipeStage`]): *new* → *wanted* (polled, the client has sent nothing)
//! ⇄ *held* (a frame was yielded, and waits for the endpoint's window) → dropped.

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

/// How long no upload of a connection may move before other requests take another connection.
///
/// The endpoint may have closed the window of the whole connection, as servers do whose windows for a stream and for
/// the connection have the same size.
const STILL: Duration = Duration::from_secs(1);

/// How long an upload may continue after its response has ended. nginx's `lingering_time` has the same default.
const LINGER: Duration = Duration::from_secs(30);

/// The uploads of one connection.
#[derive(Debug)]
pub(super) struct Uploads {
    /// When the handshake of the connection began, to which `moved` is relative.
    opened: Instant,
    /// How many uploads are *held*: they have yielded a frame and have not been polled for the next, so they wait for
    /// the endpoint.
    held: AtomicUsize,
    /// Milliseconds from `opened` to the last movement of any upload.
    moved: AtomicU64,
    /// The upload whose body hyper polls for the first time. If the body is not sent within that poll, the next task
    /// that hyper spawns is the upload's.
    starting: Mutex<Option<Arc<Pipe>>>,
}

impl Uploads {
    /// Returns the uploads of a connection that has none yet.
    pub(super) fn new(opened: Instant) -> Self {
        Self {
            opened,
            held: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            starting: Mutex::default(),
        }
    }

    /// Wraps the body of a request, and returns the upload to control it by, or `None` if there is no body.
    ///
    /// `started` is when the stream is opened.
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

    /// Returns whether uploads wait for the endpoint, and none has moved for [`STILL`].
    pub(super) fn stand_still(&self) -> bool {
        self.held.load(Relaxed) > 0
            && self.opened.elapsed() >= STILL + Duration::from_millis(self.moved.load(Relaxed))
    }

    /// Records that an upload has moved now.
    fn touch(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Relaxed);
    }

    /// Tells the upload that is being started, if there is one, which task sends it.
    pub(super) fn started(&self, task: &AbortHandle) {
        if let Some(pipe) = self.starting().take() {
            // Cannot fail: each upload starts once.
            let _ = pipe.task.set(task.clone());
        }
    }

    /// Locks `starting`. Nothing that can panic runs under the lock.
    fn starting(&self) -> MutexGuard<'_, Option<Arc<Pipe>>> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending of one upload, as its response sees it.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// hyper's task that sends the body; empty if the body was sent without one.
    task: OnceLock<AbortHandle>,
    /// Whether the body was dropped: it is sent, broken, or was aborted.
    ended: AtomicBool,
    /// Notified when the body is dropped. A notification without a waiter is stored.
    end: Notify,
}

impl Pipe {
    /// Returns whether the body has been dropped.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Acquire)
    }

    /// Lets the upload continue for [`LINGER`] after its response, and aborts it then.
    pub(super) async fn linger(&self) {
        tokio::select! {
            () = self.end.notified() => {}
            () = sleep(LINGER) => {}
        }
        self.abort();
    }

    /// Aborts the task, which resets the stream if it has not ended: h2 does so when the last reference to it is
    /// dropped.
    pub(super) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// A request body that keeps [`Uploads`] and its [`Pipe`] up to date while hyper polls it.
struct UploadBody {
    /// The body itself.
    inner: Body,
    /// The uploads of the connection.
    uploads: Arc<Uploads>,
    /// This upload, shared with its response.
    pipe: Arc<Pipe>,
    /// What hyper last did with the body.
    stage: PipeStage,
    /// When the stream was opened.
    started: Instant,
    /// The client's error, which resets the stream, and the timer that keeps it back because it came too early.
    broken: Option<(BoxError, Pin<Box<Sleep>>)>,
}

/// What [`UploadBody`] yields.
type UploadPoll = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// What hyper last did with a request body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PipeStage {
    /// Has not polled it.
    New,
    /// Has taken a frame, which waits for the endpoint's window.
    Held,
    /// Has polled it for the next frame.
    Wanted,
}

impl UploadBody {
    /// Ready with the error once the stream may be reset.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> UploadPoll {
        if let Some((_, settled)) = &mut self.broken {
            ready!(settled.as_mut().poll(cx));
        }
        Poll::Ready(self.broken.take().map(|(error, _)| Err(error)))
    }

    /// Changes the stage, and keeps the number of held uploads in step.
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
    /// Ends the upload: it is not held any more, and its response learns of it.
    fn drop(&mut self) {
        self.enter(PipeStage::Wanted);
        // A body that was sent at once needed no task, so the next task that hyper spawns is not its.
        self.uploads.touch();
        // A body that was all there at once needed no task.
        self.uploads
            .starting()
            .take_if(|starting| Arc::ptr_eq(starting, &self.pipe));
        self.pipe.ended.store(true, Release);
        self.pipe.end.notify_one();
    }
}
