//! A copy of one request, and the task that sends it.
//!
//! States:
//!
//! - *Waiting*: a [`RequestMirror`] exists, while the first service reads the body. Dropped here, the request is left
//!   out.
//! - *Sent*: [`RequestMirror::start`] has spawned the task, which owns the copy. The task ends with the answer, with
//!   the timeout, or with the layer and all its services.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, header, request::Parts};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{runtime::Handle, sync::oneshot, time::timeout};
use tower::{Service, ServiceExt};

use super::{
    answer::{AnswerReader, Comparison, MirrorAnswer},
    settings::MirrorSettings,
    state::MirrorState,
    stats::{MirrorCounts, MirrorPermit},
};
use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind},
};

/// A request that is to be sent to the second service.
pub(super) struct RequestMirror<M> {
    pub(super) task: MirrorTask<M>,
    pub(super) state: Arc<MirrorState>,
}

/// What sends a copy. It does not own the state, which owns the tasks.
pub(super) struct MirrorTask<M> {
    pub(super) service: M,
    pub(super) head: Parts,
    pub(super) settings: Arc<MirrorSettings>,
    pub(super) permit: MirrorPermit,
    /// The answer of the first service. `None` if nothing is compared.
    pub(super) first: Option<oneshot::Receiver<MirrorAnswer>>,
}

impl<M> RequestMirror<M> {
    /// Returns the counts of the layer.
    pub(super) fn counts(&self) -> &MirrorCounts {
        self.task.permit.counts()
    }

    /// Sends the copy in a task. Outside of a tokio runtime, where a body may be dropped, the request is left out.
    pub(super) fn start<B>(self, body: Body)
    where
        M: Service<Request<Body>, Response = Response<B>, Future: Send> + Send + 'static,
        M::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match Handle::try_current() {
            Ok(runtime) => {
                // Here, so that each request is counted, whatever becomes of the task.
                self.counts().sent.add();
                self.state.spawn(&runtime, self.task.run(body));
            }
            Err(_) => self.counts().incomplete.add(),
        }
    }
}

impl<M, B> MirrorTask<M>
where
    M: Service<Request<Body>, Response = Response<B>>,
    M::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Sends the copy, reads the answer, and has it compared, each within the timeout.
    async fn run(self, body: Body) {
        let (counts, limit) = (self.permit.counts(), self.settings.timeout);
        let (method, uri) = (self.head.method.clone(), self.head.uri.clone());
        let request = copied(self.head, body, &self.settings);
        let second = match timeout(limit, answer(self.service, request, &self.settings)).await {
            Ok(Ok(second)) => {
                counts.answered.add();
                Some(second)
            }
            Ok(Err(error)) => {
                counts.failed.add();
                tracing::debug!(%error, "the copy of a request failed");
                None
            }
            Err(_) => {
                counts.timed_out.add();
                None
            }
        };
        let (Some(first), Some(compare)) = (self.first, &self.settings.compare) else {
            return;
        };
        match timeout(limit, first).await {
            Ok(Ok(first)) => {
                counts.compared.add();
                (compare.told)(Comparison {
                    method,
                    uri,
                    first,
                    second,
                });
            }
            // It has none that is whole, or is not through with it.
            Ok(Err(_)) | Err(_) => counts.not_compared.add(),
        }
    }
}

/// Returns the request that is sent.
fn copied(mut head: Parts, body: Body, settings: &MirrorSettings) -> Request<Body> {
    // The body is here, and nothing asks the client for it.
    head.headers.remove(header::EXPECT);
    if let Some(rewrite) = &settings.rewrite {
        rewrite(&mut head);
    }
    Request::from_parts(head, body)
}

/// Has a request answered, and reads the answer to its end, or to the limit.
async fn answer<M, B>(
    service: M,
    request: Request<Body>,
    settings: &MirrorSettings,
) -> Result<MirrorAnswer, Error>
where
    M: Service<Request<Body>, Response = Response<B>>,
    M::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let failed = |error: BoxError| Error::own_or(ErrorKind::Service, error);
    let response = service.oneshot(request).await;
    let (head, body) = response.map_err(|error| failed(error.into()))?.into_parts();
    let compare = settings.compare.as_ref();
    let fields = compare.map_or_else(Arc::default, |compare| compare.fields.clone());
    let mut reader = AnswerReader::new(&head, fields, settings.answer_limit);
    let mut body = std::pin::pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(error.into()))?;
        if !reader.frame(&frame) {
            break;
        }
    }
    Ok(reader.finish())
}

/// The copy of a body.
#[derive(Debug)]
pub(super) struct CopiedBody {
    frames: VecDeque<Frame<Bytes>>,
}

impl CopiedBody {
    /// Returns a body of these frames.
    pub(super) fn new(frames: VecDeque<Frame<Bytes>>) -> Self {
        Self { frames }
    }
}

impl http_body::Body for CopiedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.frames.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    /// The length is known, unless trailers follow: a message with `Content-Length` cannot have them.
    fn size_hint(&self) -> SizeHint {
        let data = self.frames.iter().filter_map(Frame::data_ref);
        let length = data.map(|data| data.len() as u64).sum();
        match self.frames.iter().any(Frame::is_trailers) {
            true => SizeHint::default(),
            false => SizeHint::with_exact(length),
        }
    }
}
