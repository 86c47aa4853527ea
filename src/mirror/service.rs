//! [`Mirror`], the service around the first one.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use tower::Service;

use super::{body::MirrorBody, copier::Copier, future::MirrorFuture, tee::TeeBody};
use crate::{body::Body, error::BoxError};

/// Answers requests by the service that it wraps, and sends copies of them to a second one: what a
/// [`MirrorLayer`](super::MirrorLayer) makes.
#[derive(Clone, Debug)]
pub struct Mirror<S, M> {
    inner: S,
    copier: Copier<M>,
}

impl<S, M> Mirror<S, M> {
    pub(super) fn new(inner: S, copier: Copier<M>) -> Self {
        Self { inner, copier }
    }
}

impl<S, M, A, B> Service<Request<Body>> for Mirror<S, M>
where
    S: Service<Request<Body>, Response = Response<A>>,
    A: http_body::Body<Data = Bytes>,
    M: Service<Request<Body>, Response = Response<B>, Future: Send> + Clone + Send + 'static,
    M::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<MirrorBody<A>>;
    type Error = S::Error;
    type Future = MirrorFuture<S::Future, M>;

    /// Ready when the first service is. Whether the second one is, is not asked here.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (head, body) = request.into_parts();
        let Some((mirror, tell)) = self.copier.copy(&head, &body) else {
            let request = Request::from_parts(head, body);
            return MirrorFuture::alone(self.inner.call(request));
        };
        let settings = self.copier.settings.clone();
        let (body, unsent) = match body.is_end_stream() {
            true => (body, Some(mirror)),
            false => {
                let limit = settings.body_limit;
                let tee = body.wrap(|body| TeeBody::new(body, mirror, limit));
                (tee, None)
            }
        };
        let response = self.inner.call(Request::from_parts(head, body));
        MirrorFuture::copied(response, unsent, tell, settings)
    }
}
