//! The response future of a selection, and its body.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Service, util::Oneshot};

use super::lease::ClusterLease;
use crate::{
    body::GuardedBody,
    error::{BoxError, Error, ErrorKind},
};

pin_project! {
    /// The response future of [`Select`](super::Select).
    ///
    /// Its errors are those of the cluster, and an [`Error`](crate::Error) of the kind
    /// [`NoCluster`](crate::ErrorKind::NoCluster).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future of the cluster, and ends the request's count there. It must not be polled after it
    /// is ready.
    pub struct SelectFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        // `None` if there is no cluster.
        #[pin]
        response: Option<Oneshot<S, Request<B>>>,
        // Moves on with the response. After the future, so that it is dropped later.
        lease: Option<ClusterLease>,
    }
}

impl<S: Service<Request<B>>, B> SelectFuture<S, B> {
    /// Returns the future of a request that a cluster gets.
    pub(super) fn sent(service: S, request: Request<B>, lease: ClusterLease) -> Self {
        Self {
            response: Some(Oneshot::new(service, request)),
            lease: Some(lease),
        }
    }

    /// Returns the future of a request for which there is no cluster.
    pub(super) fn unknown() -> Self {
        Self {
            response: None,
            lease: None,
        }
    }
}

impl<S, B, ResBody> Future for SelectFuture<S, B>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    ResBody: Body,
{
    type Output = Result<Response<SelectBody<ResBody>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(response) = this.response.as_pin_mut() else {
            return Poll::Ready(Err(Error::new(ErrorKind::NoCluster).into()));
        };
        let result = ready!(response.poll(cx));
        let lease = this.lease.take();
        Poll::Ready(match result {
            Ok(response) => {
                // Its exchange goes on as a tunnel.
                let hold = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                Ok(response.map(|body| SelectBody::new(body, lease, hold)))
            }
            Err(error) => Err(error.into()),
        })
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for SelectFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelectFuture")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The response body of [`Select`](super::Select): that of the cluster. The request counts as in flight until it
    /// has yielded its last frame, fails or is dropped.
    #[derive(Debug)]
    pub struct SelectBody<B> {
        #[pin]
        inner: GuardedBody<B, Option<ClusterLease>>,
    }
}

impl<B: Body> SelectBody<B> {
    fn new(inner: B, lease: Option<ClusterLease>, hold: bool) -> Self {
        let inner = GuardedBody::new(inner, lease, hold);
        Self { inner }
    }
}

impl<B: Body> Body for SelectBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
