//! The fork between the proxy and the inner service.

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

/// What [`ProxyLayer`](super::ProxyLayer) makes of an inner service.
#[derive(Clone, Debug)]
pub struct Proxy<S, I> {
    proxy: ReverseProxy<S>,
    matcher: Arc<Matcher>,
    inner: I,
}

impl<S, I> Proxy<S, I> {
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

    /// Always ready: a busy inner service delays the requests that are for it, not those that are forwarded.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        Poll::Ready(Ok(()))
    }

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
