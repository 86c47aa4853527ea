//! The way down: waiting for the response head, and making it fit to be sent on.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode, Version, header, response::Parts,
};
use pin_project_lite::pin_project;
use tower::{Service, util::Oneshot};

use super::{
    service::Config,
    timeout::HeadTimer,
    upgrade::{self, Asked, Tunnels},
};
use crate::{
    body::{Body, ResponseBody, Trailers, Upload},
    error::{BoxError, Error, Kind},
    info::{Info, Tracker},
    rewrite::strip_trailers,
    upstream::SendError,
};

pin_project! {
    /// Waits for the answer to one request. Dropped half way it cancels the exchange.
    pub(crate) struct ForwardFuture<S>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        exchange: Exchange<S>,
    }
}

pin_project! {
    #[project = ExchangeProj]
    pub(super) struct Exchange<S>
    where
        S: Service<Request<Body>>,
    {
        pub(super) config: Arc<Config>,
        pub(super) tunnels: Arc<Tunnels>,
        pub(super) asked: Option<Asked>,
        // What the client speaks.
        pub(super) version: Version,
        pub(super) tracker: Tracker,
        #[pin]
        pub(super) response: Oneshot<S, Request<Body>>,
        #[pin]
        pub(super) timer: HeadTimer,
    }
}

impl<S: Service<Request<Body>>> ForwardFuture<S> {
    pub(super) fn new(exchange: Exchange<S>) -> Self {
        Self { exchange }
    }
}

impl<S, B> Future for ForwardFuture<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    type Output = Result<Response<ResponseBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut exchange = self.project().exchange.project();
        match exchange.response.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => {
                let endpoint = response
                    .extensions()
                    .get::<Info>()
                    .map(Info::shared_endpoint);
                let finished = exchange.finish(response, endpoint.clone());
                Poll::Ready(finished.map_err(|error| error.at_any(endpoint.as_ref())))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(exchange.failed(error.into()))),
            Poll::Pending => {
                let kind = ready!(exchange.timer.poll_expired(cx));
                Poll::Ready(Err(
                    Error::new(kind).at_any(exchange.tracker.endpoint().as_ref())
                ))
            }
        }
    }
}

impl<S, B> ExchangeProj<'_, S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    fn finish(
        &mut self,
        response: Response<B>,
        endpoint: Option<Arc<str>>,
    ) -> Result<Response<ResponseBody<B>>, Error> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(response);
        }
        let (mut parts, body) = response.into_parts();
        // RFC 9110 15.5.22: a 426 says in Upgrade what it wants, to a client that can.
        let required = match parts.status {
            StatusCode::UPGRADE_REQUIRED if *self.version == Version::HTTP_11 => {
                parts.headers.get(header::UPGRADE).cloned()
            }
            _ => None,
        };
        let nominated = self.head(&mut parts, required)?;
        let trailers = Trailers::new(strip_trailers, nominated);
        let body = ResponseBody::new(body, self.timer.rest(), trailers, endpoint);
        Ok(Response::from_parts(parts, body))
    }

    /// Joins both connections when the endpoint agreed to what the client asked for.
    fn switch(&mut self, response: Response<B>) -> Result<Response<ResponseBody<B>>, Error> {
        let asked = self.asked.take().ok_or_else(|| Error::new(Kind::Upgrade))?;
        let (token, tunnel) = asked.agree(response, self.timer.idle())?;
        let (mut parts, tunnel) = tunnel.into_parts();
        self.head(&mut parts, Some(token))?;
        self.tunnels.open(tunnel);
        Ok(Response::from_parts(parts, ResponseBody::tunnel()))
    }

    /// Makes a head fit to be sent down, with the `Upgrade` it may keep, and says what may not be among its trailers.
    fn head(
        &self,
        parts: &mut Parts,
        upgrade: Option<HeaderValue>,
    ) -> Result<Vec<HeaderName>, Error> {
        let nominated = self.config.rewrite.response(parts)?;
        if let Some(upgrade) = upgrade {
            upgrade::announce(&mut parts.headers, upgrade);
        }
        if let Some(hook) = &self.config.response_hook {
            hook(parts);
        }
        Ok(nominated)
    }

    /// The request body is looked at first: when it failed, the endpoint's error is only the echo.
    fn failed(&self, error: BoxError) -> Error {
        let (error, _) = SendError::split(error);
        match self.timer.upload() {
            Some(Upload::TooLarge) => Error::new(Kind::BodyTooLarge).with(error),
            Some(Upload::Broken) => Error::new(Kind::RequestBody).with(error),
            _ => error,
        }
    }
}

impl<S: Service<Request<Body>>> fmt::Debug for ForwardFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardFuture").finish_non_exhaustive()
    }
}
