//! The sending of one request: the loop over connections.
//!
//! What may be sent again is decided in `resend.rs`; how a head is pointed at the endpoint, in `target.rs`; which
//! connection is used, in `pool/`; how it is sent, in `http1/` and `http2/`.

use std::sync::Arc;

use http::{Request, Response, StatusCode};

use super::{
    body::{ClientBody, VersionBody},
    client_attempt::ClientAttempt,
    connect::Versions,
    error::{SendError, SendFailure},
    http1::{Http1, Http1Exchange, expects_continue, is_of_unknown_length, settle_body},
    pool::{Checkout, Pool},
    resend::{Resend, Spare},
    target::{Before, Scheme, Target},
};
#[cfg(feature = "http2")]
use super::{
    error::Failure,
    http2::{WebSocketRequest, settle_length},
};
use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind},
    record::{ClientConnection, Info, class_of_head},
    rewrite::{Fields, Seen},
};

/// What is known of a request besides the request itself, from one connection to the next.
pub(super) struct Sending {
    target: Arc<Target>,
    pool: Arc<Pool>,
    begun: ClientAttempt,
    /// The fields of the request.
    seen: Seen,
    /// The versions that it may be sent over.
    versions: Versions,
    /// Only on a connection that is opened from now on.
    fresh: bool,
    /// Whether it may have been sent before, so that it is not sent again.
    repeated: bool,
}

/// What the client returns.
pub(super) type Sent = Result<Response<ClientBody>, SendError>;

impl Sending {
    /// Returns the state of a request that nothing has been done with.
    pub(super) fn new(
        target: Arc<Target>,
        pool: Arc<Pool>,
        begun: ClientAttempt,
        request: &Request<Body>,
    ) -> Self {
        let seen = Seen::in_head(request.headers());
        let upgrade = upgrades_over_http1(seen, &target);
        // Only a WebSocket has a form over HTTP/2, which the endpoint may offer.
        #[cfg(feature = "http2")]
        let upgrade = upgrade && WebSocketRequest::of(request).is_none();
        let versions = match upgrade {
            true => Versions::Http1,
            false => Versions::All,
        };
        begun.record.not_sent(begun.nth);
        Self {
            target,
            pool,
            begun,
            seen,
            versions,
            fresh: false,
            repeated: false,
        }
    }

    /// Takes an idle HTTP/1 connection, if the request can be sent on it at once.
    pub(super) fn idle(&self, request: &Request<Body>) -> Option<Http1> {
        match self.needs_settling(request) {
            true => None,
            false => self.pool.idle(self.versions, self.client()),
        }
    }

    /// Returns whether it has to be found out first whether the request has a body. Not if its body must not be touched
    /// before the endpoint asks for it.
    fn needs_settling(&self, request: &Request<Body>) -> bool {
        let untouched = self.seen.any(Fields::EXPECT) && expects_continue(request.headers());
        !untouched && is_of_unknown_length(request.body())
    }

    /// Points a request at the endpoint and hands it to a connection.
    pub(super) fn exchange(
        &self,
        http1: Http1,
        reused: bool,
        mut request: Request<Body>,
    ) -> Result<(Http1Exchange, Before), Error> {
        let before = match self.target.apply(&mut request, false) {
            Ok(before) => before,
            Err(error) => {
                http1.go_home();
                return Err(error);
            }
        };
        self.sends(reused);
        let host = self.target.host_for(&request, self.seen);
        let exchange = http1.send(request, host, self.seen, self.client());
        Ok((exchange, before))
    }

    /// Returns the request for a WebSocket that the request is, if it is one.
    #[cfg(feature = "http2")]
    fn websocket(&self, request: &Request<Body>) -> Option<WebSocketRequest> {
        let upgrade = self.seen.any(Fields::UPGRADE);
        upgrade.then(|| WebSocketRequest::of(request)).flatten()
    }

    /// Returns the connection that the request came from, if it is known.
    fn client(&self) -> Option<ClientConnection> {
        self.begun.record.client().connection()
    }

    /// Records that the request is sent from now on.
    fn sends(&self, reused: bool) {
        self.begun.record.sending(self.begun.nth, reused);
        if reused {
            self.pool.counts.reused();
            self.pool.metrics.reused();
        }
    }

    /// Sends a request, and again on another connection where that is safe.
    ///
    /// For each connection:
    ///
    /// 1. Take one from the pool, or open one. An error here returns the request: nothing has been sent.
    /// 2. Point the head at this server, in the form that the connection's version requires.
    /// 3. Send it and return the response; or ask [`Resend`] what may be done with the request now.
    ///
    /// A request is repeated once at most after any part of it may have been sent. Returned unsent, it is tried on as
    /// many idle connections as there are; each attempt closes one, so the loop ends.
    ///
    /// The record is kept up to date about whether anything was sent, since the future may be dropped at any await.
    pub(super) async fn run(mut self, mut request: Request<Body>) -> Sent {
        loop {
            let checkout = self.pool.checkout(self.versions, self.client(), self.fresh);
            let checkout = match checkout.await {
                Ok(checkout) => checkout,
                Err(error) => return Err(self.unsent(error, request)),
            };
            let reused = checkout.is_reused();
            let (failed, spare, before) = match checkout {
                Checkout::Http1 { http1, .. } => {
                    if self.needs_settling(&request) {
                        settle_body(&mut request).await;
                    }
                    let exchange = self.exchange(http1, reused, request);
                    let (exchange, before) = exchange.map_err(|error| self.ended(error))?;
                    match exchange.await {
                        Ok(response) => return Ok(self.answered(response.map(VersionBody::Http1))),
                        Err(failed) => (failed, None, before),
                    }
                }
                #[cfg(feature = "http2")]
                Checkout::Http2 { stream, .. } => {
                    let websocket = self.websocket(&request);
                    let websocket = websocket.filter(|_| stream.takes_websockets());
                    if websocket.is_none() && upgrades_over_http1(self.seen, &self.target) {
                        self.versions = Versions::Http1;
                        continue;
                    }
                    if self.seen.any(Fields::CONTENT_LENGTH) {
                        settle_length(&mut request);
                    }
                    let spare = match self.repeated {
                        true => None,
                        false => Spare::of(&request),
                    };
                    let before = self.target.apply(&mut request, true);
                    let before = before.map_err(|error| self.ended(error))?;
                    if let Some(websocket) = &websocket {
                        websocket.apply(&mut request);
                    }
                    self.sends(reused);
                    match stream.send(request).await {
                        Ok(mut response) => {
                            if let Some(websocket) = &websocket {
                                websocket.answered(&mut response);
                            }
                            return Ok(self.answered(response.map(VersionBody::Http2)));
                        }
                        Err(Failure::Send(mut failed)) => {
                            if let (Some(websocket), Some(request)) =
                                (&websocket, &mut failed.request)
                            {
                                websocket.restore(request);
                            }
                            (*failed, spare, before)
                        }
                        Err(Failure::Response(error)) => return Err(self.failed(error)),
                    }
                }
            };
            request = self.again(failed, spare, before, reused)?;
        }
    }

    /// Returns the request after a failure, if it may be sent once more.
    pub(super) fn again(
        &mut self,
        mut failed: SendFailure,
        spare: Option<Spare>,
        before: Before,
        reused: bool,
    ) -> Result<Request<Body>, SendError> {
        let request = match Resend::decide(&mut failed, spare, before, reused, self.repeated) {
            Resend::Again {
                request,
                on_new,
                on_http1,
                last,
            } => {
                if on_http1 && self.target.scheme != Scheme::H2c {
                    self.versions = Versions::Http1;
                }
                (self.fresh, self.repeated) = (on_new, self.repeated | last);
                request
            }
            Resend::Elsewhere(request) => {
                let error = self.error(failed.error);
                return Err(self.unsent(error, request));
            }
            Resend::Never => return Err(self.failed(failed.error)),
        };
        if !self.repeated {
            self.begun.record.not_sent(self.begun.nth);
        }
        Ok(request)
    }

    /// Completes a response: records what its head says of the attempt, adds [`Info`] to its extensions, and puts the
    /// attempt into the body, where it ends.
    pub(super) fn answered(&mut self, mut response: Response<VersionBody>) -> Response<ClientBody> {
        let mut attempt = self.begun.attempt.take();
        if let Some(attempt) = &mut attempt {
            attempt.ends(self.begun.exchange.take());
            attempt.reached_body(response.status(), None);
            let class = class_of_head(&response);
            if class.is_failure() {
                attempt.answered(class);
            }
        }
        let info = Info::new(self.begun.record.clone());
        response.extensions_mut().insert(info);
        let hold = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        response.map(|body| ClientBody::new(body, attempt, hold))
    }

    /// Returns the error of an exchange that failed on its connection.
    fn error(&self, error: BoxError) -> Error {
        Error::new(ErrorKind::Connection)
            .with(error)
            .at(&self.target.name)
    }

    /// Returns the error of an exchange that failed on its connection, and may have been sent. Records it as the
    /// attempt's outcome.
    fn failed(&mut self, error: BoxError) -> SendError {
        let error = self.error(error);
        self.ended(error)
    }

    /// Returns the error of a request that is not sent again. Records it as the attempt's outcome.
    pub(super) fn ended(&mut self, error: Error) -> SendError {
        self.record(&error);
        error.into()
    }

    /// Returns the error of a request of which nothing was sent, with the request in it. Records it as the attempt's
    /// outcome.
    fn unsent(&mut self, error: Error, request: Request<Body>) -> SendError {
        self.record(&error);
        SendError::unsent(error, request)
    }

    /// Records an error as the outcome of the client's own attempt, if there is one.
    fn record(&mut self, error: &Error) {
        if let Some(attempt) = self.begun.attempt.take() {
            attempt.failed(error);
        }
    }
}

/// Returns whether a request is one to upgrade, which HTTP/1.1 can carry to its endpoint.
///
/// Prior knowledge of HTTP/2 means that HTTP/1 is not available: an upgrade is then sent as the plain request that it
/// also is. RFC 9110 7.8: a server may ignore `Upgrade`.
fn upgrades_over_http1(seen: Seen, target: &Target) -> bool {
    seen.any(Fields::UPGRADE) && target.scheme != Scheme::H2c
}
