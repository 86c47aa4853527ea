//! The way down: waits for the response head, and makes it fit to be relayed.
//!
//! The stages of an exchange here:
//!
//! - *Waiting*: the service behind has the request. Each poll asks it first and the deadlines second, so a response
//!   that is ready when a deadline passes is still relayed.
//! - *Head*: the response head is rewritten, and hooks run on it.
//! - *Body*: the body leaves with the response, wrapped in [`ForwardBody`], and this future is over. A 101 hands both
//!   connections to a tunnel instead.
//! - *Failed*: the service failed, or a deadline passed. A deadline is recorded before the service's future is dropped.

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

use super::{head_timer::HeadTimer, hooks::ResponseChanges, settings::ForwardSettings};
use crate::{
    body::{Body, DeadlineBody, ReadBody, UnreadWatch},
    error::{BoxError, Error, ErrorKind},
    record::{Attempt, ExchangeGuard, Info, Record, UploadState},
    rewrite::{AskedFor, TrailerRule},
    tunnel::{OpenTunnels, UpgradeRequest, announce},
    upstream::SendError,
};

/// The body of a response on its way down: deadlines inside, the watch for clients that do not read outside.
pub(crate) type ForwardBody<B> = ReadBody<DeadlineBody<B>>;

pin_project! {
    /// Waits for the response to one request.
    ///
    /// Yields an [`Error`] that names the endpoint of the last attempt, if there was one.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before it is ready cancels the exchange: the service's future is dropped, and with it the connection
    /// or the stream to the endpoint. The attempt is recorded as one whose client disconnected. It must not be polled
    /// after it is ready.
    pub(crate) struct ForwardFuture<S>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        exchange: Exchange<S>,
    }
}

pin_project! {
    /// Everything that one exchange needs until its response head has been relayed.
    ///
    /// What is shared is a clone of an `Arc`: the proxy may be dropped, or changed, while the exchange goes on.
    #[project = ExchangeProj]
    pub(super) struct Exchange<S>
    where
        S: Service<Request<Body>>,
    {
        // The settings at the time when the request began.
        pub(super) config: Arc<ForwardSettings>,
        // Takes the tunnel of an upgrade.
        pub(super) tunnels: Arc<OpenTunnels>,
        // Watches response bodies that the client could leave unread.
        pub(super) unread: Arc<UnreadWatch>,
        // The client's end of the connection, if it asked for an upgrade that is allowed. Taken by a 101.
        pub(super) upgrade: Option<UpgradeRequest>,
        // The version that the client speaks.
        pub(super) version: Version,
        // The end of the exchange. It moves on with the response.
        pub(super) end: Option<ExchangeGuard>,
        // What the client asked for, if URLs in the response are to be mapped back to it.
        pub(super) asked_for: Option<Box<AskedFor>>,
        // What hooks that have seen the request do to the response.
        pub(super) changes: ResponseChanges,
        // Calls the service once it is ready. What bounds that wait is the same timer.
        #[pin]
        pub(super) response: Oneshot<S, Request<Body>>,
        // The deadlines until the head has arrived.
        pub(super) timer: HeadTimer,
    }
}

impl<S: Service<Request<Body>>> ForwardFuture<S> {
    /// Starts nothing: the service is called by the first poll.
    pub(super) fn new(exchange: Exchange<S>) -> Self {
        Self { exchange }
    }

    /// Returns the record of the exchange, also after the future is ready.
    pub(crate) fn record(&self) -> &Arc<Record> {
        self.exchange.timer.record()
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
        let error = match exchange.response.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => match exchange.finish(response) {
                Ok(response) => return Poll::Ready(Ok(response)),
                Err(error) => error,
            },
            Poll::Ready(Err(error)) => exchange.failed(error.into()),
            Poll::Pending => {
                // No waker of the upload is needed: the timer looks at it by itself.
                let kind = ready!(exchange.timer.poll_expired(cx));
                exchange.timer.record().stop(kind);
                Error::new(kind)
            }
        };
        Poll::Ready(Err(exchange.name(error)))
    }
}

impl<S, B> ExchangeProj<'_, S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Makes a response fit to be relayed, and wraps its body.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Connection`] if the framing of the response is ambiguous, and [`ErrorKind::Upgrade`] for a
    /// 101 that cannot be obeyed, or a 2xx that the client would take for one.
    fn finish(&mut self, response: Response<B>) -> Result<Response<ForwardBody<B>>, Error> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(response);
        }
        let upgrade = self.upgrade.as_ref();
        if upgrade.is_some_and(|upgrade| upgrade.is_agreed_by_mistake(response.status())) {
            // Before the response is dropped, whose guard would take it for a client that left.
            self.record().stop(ErrorKind::Upgrade);
            return Err(Error::new(ErrorKind::Upgrade));
        }
        let (mut parts, body) = response.into_parts();
        // RFC 9110 15.5.22: a server that sends a 426 MUST say in `Upgrade` which protocols it requires. That is of use
        // to a client of HTTP/1.1 only: in HTTP/2 the field is malformed (RFC 9113 8.2.2), and in HTTP/1.0 it is
        // ignored.
        let required = match parts.status {
            StatusCode::UPGRADE_REQUIRED if *self.version == Version::HTTP_11 => {
                parts.headers.get(header::UPGRADE).cloned()
            }
            _ => None,
        };
        // Before the body is dropped, whose guard would take it for a client that left.
        let head = self.head(&mut parts, required);
        let trailers = head.inspect_err(|error| self.record().stop(error.kind()))?;
        let (record, deadlines) = (self.record().clone(), self.timer.rest());
        let body = DeadlineBody::new(body, self.end.take(), deadlines.clone(), trailers);
        // A stream's window can be closed while the connection's socket takes everything.
        let multiplexed = *self.version >= Version::HTTP_2;
        let body = ReadBody::watched_by(self.unread, body, deadlines, record, multiplexed);
        Ok(Response::from_parts(parts, body))
    }

    /// Joins both connections into a tunnel, if the endpoint agreed to what the client asked for.
    ///
    /// The response has an empty body, which needs no watch: the tunnel has an idle timeout of its own.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Upgrade`], a 502, if the client asked for nothing or for another protocol, or if the
    /// endpoint's connection cannot be handed over.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    fn switch(&mut self, response: Response<B>) -> Result<Response<ForwardBody<B>>, Error> {
        let Some(upgrade) = self.upgrade.take() else {
            self.record().stop(ErrorKind::Upgrade);
            return Err(Error::new(ErrorKind::Upgrade));
        };
        let (token, tunnel) = upgrade.agree(response, self.record().clone(), self.timer.idle())?;
        let (mut parts, mut tunnel) = tunnel.into_parts();
        let head = self.head(&mut parts, token);
        head.inspect_err(|error| self.record().stop(error.kind()))?;
        tunnel.ends(self.end.take());
        self.tunnels.open(tunnel, |_| {});
        Ok(Response::from_parts(
            parts,
            ReadBody::unwatched(DeadlineBody::tunnel()),
        ))
    }

    /// Returns the record of the exchange.
    fn record(&self) -> &Arc<Record> {
        self.timer.record()
    }

    /// Makes a response head fit to be sent down, and returns the rule for its trailers.
    ///
    /// `upgrade` is put back on the head after hop-by-hop fields have been removed, and before the hooks run.
    ///
    /// # Errors
    ///
    /// Those of [`Rewrite::response`](crate::rewrite::Rewrite::response).
    fn head(
        &mut self,
        parts: &mut Parts,
        upgrade: Option<HeaderValue>,
    ) -> Result<TrailerRule, Error> {
        if let Some(asked_for) = self.asked_for {
            let answered_by = self.timer.record().last_attempt();
            asked_for.answered_by(answered_by.and_then(Attempt::url).cloned());
        }
        let trailers = self
            .config
            .rewrite
            .response(parts, self.asked_for.as_deref())?;
        if let Some(upgrade) = upgrade {
            announce(&mut parts.headers, upgrade);
        }
        self.inform(&mut parts.extensions);
        self.config.hooks.response(self.changes, parts);
        self.record().set_status(parts.status);
        Ok(trailers)
    }

    /// Puts the record of the exchange into the response's extensions, as the public [`Info`]. The balancer or the
    /// client has usually done so: a second insertion would allocate.
    fn inform(&self, extensions: &mut Extensions) {
        if extensions.get::<Info>().is_none() {
            extensions.insert(Info::new(self.record().clone()));
        }
    }

    /// Returns the error of a service, or that of the request body if the body failed.
    ///
    /// A failed request body comes first, because what the endpoint's connection reports is then only a consequence.
    /// Its error stays as the source. A request that was not sent and comes back with the error is dropped: there is
    /// nowhere else to send it.
    fn failed(&self, error: BoxError) -> Error {
        let (error, _) = SendError::split(error);
        match self.record().upload().state() {
            UploadState::TooLarge => Error::new(ErrorKind::BodyTooLarge).with(error),
            UploadState::Broken => Error::new(ErrorKind::RequestBody).with(error),
            _ => error,
        }
    }

    /// Names the endpoint of the last attempt, unless the error names one.
    fn name(&self, error: Error) -> Error {
        error.at_any(
            self.record()
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
