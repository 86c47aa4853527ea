//! [`RouteService`]: answers every request as the routes say.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use pin_project_lite::pin_project;
use tower::Service;

use super::{super::routing::NotTaken, running::RouteAction, shared::LiveState};
use crate::{balance::LoadBalance, error::BoxError, proxy::ProxyFuture};

/// Answers every request as the routes say that are there when it comes: what is in
/// [`LiveConfig::router`](super::LiveConfig::router), for a server of your own.
///
/// It is always ready, and never fails. Clones are the same one. What a server knows of a request it puts into the
/// request's extensions: see [`proxy`](crate::proxy).
#[derive(Clone)]
pub struct RouteService(Arc<LiveState>);

impl RouteService {
    pub(super) fn new(live: Arc<LiveState>) -> Self {
        Self(live)
    }
}

impl<B> Service<Request<B>> for RouteService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<AxumBody>;
    type Error = Infallible;
    type Future = RouteServiceFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> RouteServiceFuture {
        let running = self.0.current.load();
        let (parts, body) = request.into_parts();
        let answered = |response| Answering::Answered {
            response: Some(response),
        };
        let answering = match running.find(&parts) {
            Ok(RouteAction::Forward(proxy)) => Answering::Forwarded {
                future: proxy.clone().call(Request::from_parts(parts, body)),
            },
            Ok(RouteAction::Respond(answer)) => answered(answer.response()),
            Ok(RouteAction::Redirect(redirect)) => answered(redirect.response(&parts)),
            Err(not_taken) => answered(refusal(not_taken)),
        };
        RouteServiceFuture { answering }
    }
}

/// Returns the response to a request that no route takes.
fn refusal(not_taken: NotTaken) -> Response<AxumBody> {
    let (status, text) = match not_taken {
        NotTaken::NotFound => (StatusCode::NOT_FOUND, "not found\n"),
        NotTaken::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"),
    };
    let mut response = Response::new(AxumBody::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    if let NotTaken::Method(methods) = not_taken {
        // RFC 9110 15.5.6: "The origin server MUST generate an Allow header field in a 405 response".
        let methods = Vec::from_iter(methods).join(", ");
        if let Ok(methods) = HeaderValue::try_from(methods) {
            headers.insert(header::ALLOW, methods);
        }
    }
    response
}

pin_project! {
    /// The response of a [`RouteService`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels the request upstream.
    pub struct RouteServiceFuture {
        #[pin]
        answering: Answering,
    }
}

pin_project! {
    #[project = AnsweringProjection]
    enum Answering {
        Forwarded {
            #[pin]
            future: ProxyFuture<LoadBalance>,
        },
        Answered {
            response: Option<Response<AxumBody>>,
        },
    }
}

impl Future for RouteServiceFuture {
    type Output = Result<Response<AxumBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().answering.project() {
            AnsweringProjection::Forwarded { future } => future.poll(cx),
            // It is polled once.
            AnsweringProjection::Answered { response } => {
                Poll::Ready(Ok(response.take().unwrap_or_default()))
            }
        }
    }
}

impl fmt::Debug for RouteServiceFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteServiceFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for RouteService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteService").finish_non_exhaustive()
    }
}
