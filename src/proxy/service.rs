//! The service that a [`ProxyLayer`](super::ProxyLayer) makes: a fork between the proxy and the inner service.
//!
//! The decision falls once, from the head, and cannot be changed later. Both branches have the response type of axum,
//! and the error type of the inner service: the proxy never fails.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{Service, util::Oneshot};

use super::{ReverseProxy, future::ProxyFuture, matcher::Matcher};
use crate::{body::Body, error::BoxError};

/// Forwards the requests that match, and passes the others to the inner service: what [`ProxyLayer`](super::ProxyLayer)
/// makes of a service.
///
/// The inner service is cloned for each request that it gets. Requests that do not match reach it as they came, body
/// and extensions included.
#[derive(Clone, Debug)]
pub struct Proxy<S, I> {
    /// Gets the requests that match.
    proxy: ReverseProxy<S>,
    /// Decides between the two. Shared by all services of one layer.
    matcher: Arc<Matcher>,
    /// Gets all other requests.
    inner: I,
}

impl<S, I> Proxy<S, I> {
    /// Returns a fork between `proxy` and `inner`.
    pub(super) fn new(proxy: ReverseProxy<S>, matcher: Arc<Matcher>, inner: I) -> Self {
        Self {
            proxy,
            matcher,
            inner,
        }
    }
}

impl<S, I, B, ReqBody, ResBody> Service<Request<ReqBody>> for Proxy<S, I>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    I: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ReqBody: http_body::Body<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
    ResBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<AxumBody>;
    type Error = I::Error;
    type Future = RouteFuture<S, I, ReqBody>;

    /// Always ready. Which service a request is for is known only when it is there, and a busy inner service must not
    /// delay the requests that are forwarded. [`call`](Service::call) waits for the readiness of the service that it
    /// has chosen.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        Poll::Ready(Ok(()))
    }

    /// Chooses by the request's head. The clone of the inner service is asked for its readiness by the future.
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let matches = self.matcher.matches(&parts);
        let request = Request::from_parts(parts, body);
        let fork = match matches {
            true => Fork::Proxy {
                future: self.proxy.call(request),
            },
            false => Fork::Inner {
                future: Oneshot::new(self.inner.clone(), request),
            },
        };
        RouteFuture { fork }
    }
}

pin_project! {
    /// The response future of [`Proxy`].
    ///
    /// Its errors are those of the inner service.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future of the service that was chosen; a forwarded request is cancelled upstream.
    pub struct RouteFuture<S, I, ReqBody>
    where
        S: Service<Request<Body>>,
        I: Service<Request<ReqBody>>,
    {
        #[pin]
        fork: Fork<S, I, ReqBody>,
    }
}

pin_project! {
    /// The future of the service that was chosen.
    #[project = ForkProj]
    enum Fork<S, I, ReqBody>
    where
        S: Service<Request<Body>>,
        I: Service<Request<ReqBody>>,
    {
        Proxy { #[pin] future: ProxyFuture<S> },
        Inner { #[pin] future: Oneshot<I, Request<ReqBody>> },
    }
}

impl<S, I, B, ReqBody, ResBody> Future for RouteFuture<S, I, ReqBody>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    I: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<AxumBody>, I::Error>;

    /// Yields the response of either service with axum's body type.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().fork.project() {
            ForkProj::Proxy { future } => {
                let Ok(response) = ready!(future.poll(cx));
                Ok(response)
            }
            ForkProj::Inner { future } => {
                ready!(future.poll(cx)).map(|response| response.map(AxumBody::new))
            }
        })
    }
}

impl<S, I, ReqBody> fmt::Debug for RouteFuture<S, I, ReqBody>
where
    S: Service<Request<Body>>,
    I: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteFuture").finish_non_exhaustive()
    }
}
