//! The response future of a mirror.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use super::{
    answer::AnswerReader,
    body::{AnswerObserver, MirrorBody},
    copier::FirstAnswer,
    copy::RequestMirror,
    settings::MirrorSettings,
};
use crate::{body::Body, error::BoxError};

pin_project! {
    /// The response future of [`Mirror`](super::Mirror): that of the first service, whose errors it has.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future of the first service. A copy that was sent goes on; one whose body has not been
    /// read by the first service is left out. It must not be polled after it is ready.
    pub struct MirrorFuture<F, M> {
        #[pin]
        response: F,
        // The copy of a request without a body, until the first service has been polled.
        unsent: Unsent<M>,
        // Tells the answer to the task of the copy. `None` if nothing is compared.
        told: Option<(FirstAnswer, Arc<MirrorSettings>)>,
    }
}

/// A copy that is left out if it is dropped here.
struct Unsent<M>(Option<RequestMirror<M>>);

impl<F, M> MirrorFuture<F, M> {
    /// Returns the future of a request that is not copied.
    pub(super) fn alone(response: F) -> Self {
        Self {
            response,
            unsent: Unsent(None),
            told: None,
        }
    }

    /// Returns the future of a request that is copied: without a body by this future, and with one by its body.
    pub(super) fn copied(
        response: F,
        unsent: Option<RequestMirror<M>>,
        tell: FirstAnswer,
        settings: Arc<MirrorSettings>,
    ) -> Self {
        Self {
            response,
            unsent: Unsent(unsent),
            told: tell.is_some().then_some((tell, settings)),
        }
    }
}

impl<F, M, E, A, B> Future for MirrorFuture<F, M>
where
    F: Future<Output = Result<Response<A>, E>>,
    A: http_body::Body<Data = Bytes>,
    M: Service<Request<Body>, Response = Response<B>, Future: Send> + Send + 'static,
    M::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<MirrorBody<A>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this.response.poll(cx);
        // Only now: the first service comes first.
        if let Some(mirror) = this.unsent.0.take() {
            mirror.start(Body::empty());
        }
        let (head, body) = ready!(polled)?.into_parts();
        let observer = this.told.take().and_then(|(tell, settings)| {
            let fields = settings.compare.as_ref()?.fields.clone();
            let reader = AnswerReader::new(&head, fields, settings.answer_limit);
            tell.map(|tell| AnswerObserver::new(reader, tell))
        });
        let body = MirrorBody::new(body, observer);
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}

impl<M> Drop for Unsent<M> {
    fn drop(&mut self) {
        if let Some(mirror) = &self.0 {
            mirror.counts().incomplete.add();
        }
    }
}

impl<F, M> fmt::Debug for MirrorFuture<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorFuture").finish_non_exhaustive()
    }
}
