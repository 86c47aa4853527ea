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
    Extensions, HeaderValue, Request, Response, StatusCode, Version, header, response::Parts,
};
use pin_project_lite::pin_project;
use tower::{Service, util::Oneshot};

use super::{config::Config, head_timer::HeadTimer, hooks::ResponseChanges};
use crate::{
    body::{Body, DeadlineBody, ReadBody, UnreadWatch},
    error::{BoxError, Error, ErrorKind},
    record::{Info, Record, UploadState},
    rewrite::TrailerRule,
    tunnel::{OpenTunnels, UpgradeRequest, announce},
    upstream::SendError,
};

/// The body of a response on its way down.
pub(crate) type ForwardBody<B> = ReadBody<DeadlineBody<B>>;

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
        pub(super) tunnels: Arc<OpenTunnels>,
        pub(super) unread: Arc<UnreadWatch>,
        pub(super) upgrade: Option<UpgradeRequest>,
        // What the client speaks.
        pub(super) version: Version,
        pub(super) record: Arc<Record>,
        pub(super) changes: ResponseChanges,
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

    /// What is known of the exchange.
    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.exchange.record
    }
}

impl<S, B> Future for ForwardFuture<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<ForwardBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut exchange = self.project().exchange.project();
        let result = match exchange.response.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => exchange.finish(response),
            Poll::Ready(Err(error)) => Err(exchange.failed(error.into())),
            Poll::Pending => {
                let kind = ready!(exchange.timer.as_mut().poll_expired(cx));
                exchange.record.stop(kind);
                Err(Error::new(kind))
            }
        };
        Poll::Ready(result.map_err(|error| exchange.name(error)))
    }
}

impl<S, B> ExchangeProj<'_, S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn finish(&mut self, response: Response<B>) -> Result<Response<ForwardBody<B>>, Error> {
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
        let trailers = self.head(&mut parts, required)?;
        let (record, deadlines) = (self.record.clone(), self.timer.rest());
        let body = DeadlineBody::new(body, record.clone(), deadlines.clone(), trailers);
        let multiplexed = *self.version == Version::HTTP_2;
        let body = ReadBody::watched_by(self.unread, body, deadlines, record, multiplexed);
        Ok(Response::from_parts(parts, body))
    }

    /// Joins both connections when the endpoint agreed to what the client asked for.
    fn switch(&mut self, response: Response<B>) -> Result<Response<ForwardBody<B>>, Error> {
        let upgrade = self
            .upgrade
            .take()
            .ok_or_else(|| Error::new(ErrorKind::Upgrade))?;
        let (token, tunnel) = upgrade.agree(response, self.record.clone(), self.timer.idle())?;
        let (mut parts, tunnel) = tunnel.into_parts();
        self.head(&mut parts, Some(token))?;
        self.tunnels.open(tunnel);
        Ok(Response::from_parts(
            parts,
            ReadBody::unwatched(DeadlineBody::tunnel()),
        ))
    }

    /// Makes a head fit to be sent down, with the `Upgrade` it may keep, and returns the rule for its trailers.
    fn head(
        &mut self,
        parts: &mut Parts,
        upgrade: Option<HeaderValue>,
    ) -> Result<TrailerRule, Error> {
        let trailers = self.config.rewrite.response(parts)?;
        if let Some(upgrade) = upgrade {
            announce(&mut parts.headers, upgrade);
        }
        self.inform(&mut parts.extensions);
        self.config.hooks.response(self.changes, parts);
        Ok(trailers)
    }

    /// Makes the record of the exchange public, unless the balancer has done so: a second insertion would allocate.
    fn inform(&self, extensions: &mut Extensions) {
        if extensions.get::<Info>().is_none() {
            extensions.insert(Info::new(self.record.clone()));
        }
    }

    /// The request body is looked at first: when it failed, the endpoint's error is only the echo.
    fn failed(&self, error: BoxError) -> Error {
        let (error, _) = SendError::split(error);
        match self.record.upload().state() {
            UploadState::TooLarge => Error::new(ErrorKind::BodyTooLarge).with(error),
            UploadState::Broken => Error::new(ErrorKind::RequestBody).with(error),
            _ => error,
        }
    }

    fn name(&self, error: Error) -> Error {
        error.at_any(
            self.record
                .last_attempt()
                .map(|last| last.shared_endpoint()),
        )
    }
}

impl<S: Service<Request<Body>>> fmt::Debug for ForwardFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardFuture").finish_non_exhaustive()
    }
}
