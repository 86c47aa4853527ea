//! A client for one endpoint, as a tower service.
//!
//! This file has the loop over connections of one request. What may be sent again is decided in `resend.rs`; how a head
//! is pointed at the endpoint, in `target.rs`; which connection is used, in `pool/`; how it is sent, in `http1/` and
//! `http2/`.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode, header};
use http_body::Body as _;
use tower::Service;
use tracing::Instrument;

use super::{
    body::{ClientBody, VersionBody},
    client_attempt::ClientAttempt,
    connect::Versions,
    error::{Failure, SendError, SendFailure},
    http1::{expects_continue, is_of_unknown_length, settle_body},
    pool::{Checkout, Pool},
    resend::{Resend, Spare},
    target::{Scheme, Target},
};
#[cfg(feature = "status")]
use crate::telemetry::PoolReport;
use crate::{
    body::Body,
    error::{Error, ErrorKind},
    record::{ClientConnection, Info, Record, class_of_head, spans_are_wanted},
    rewrite::{Fields, Seen},
    telemetry::MeasuredAttempt,
};

/// Sends requests to one server, over a connection pool of its own.
///
/// The request is in origin form (`/path?query`). The client puts the URL's base path in front, and sets `Host` to the
/// URL's authority if there is none. Clones share the pool. See the [module docs](crate::upstream).
///
/// It is always ready: capacity is found out per request, as one may be sent on an HTTP/2 connection where another
/// needs a new one. It has to be called within a tokio runtime.
///
/// # Errors
///
/// A [`SendError`], whose [`take_request`](SendError::take_request) returns the request if nothing of it was sent.
///
/// # Cancel safety
///
/// Dropping the response future, or the response body before its end, cancels the request: an HTTP/1 connection closes,
/// an HTTP/2 stream is reset, but no sooner than 50 ms after it was opened. A request that waits for a connection
/// leaves the line.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where the endpoint is.
    target: Arc<Target>,
    /// The connections, shared by all clones.
    pool: Arc<Pool>,
}

impl Client {
    /// Returns a client over a pool.
    pub(super) fn new_in(target: Arc<Target>, pool: Arc<Pool>) -> Self {
        Self { target, pool }
    }

    /// Returns the URL that the client was built from, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.target.url
    }

    /// Returns the name in logs and errors, which is the endpoint's identity in a cluster.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.target.name
    }

    /// Returns how many connections there are, and have been.
    #[cfg(feature = "status")]
    pub(crate) fn pool(&self) -> PoolReport {
        self.pool.report()
    }

    /// Makes a new connection to the server as a request would, and closes it.
    ///
    /// # Errors
    ///
    /// Those of [`Pool::check_connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what it was opening.
    pub(crate) async fn check_connect(&self) -> Result<(), Error> {
        self.pool.check_connect().await
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
    async fn send(
        self,
        mut request: Request<Body>,
        begun: Option<Box<ClientAttempt>>,
    ) -> Result<Response<ClientBody>, SendError> {
        let ClientAttempt {
            record,
            mut exchange,
            mut attempt,
            nth,
        } = match begun {
            Some(begun) => *begun,
            None => ClientAttempt::by(&self.target, &self.pool.attempts, &mut request),
        };
        let seen = Seen::in_head(request.headers());
        // Prior knowledge of HTTP/2 means that HTTP/1 is not available: an upgrade is then sent as the plain request
        // that it also is. RFC 9110 7.8: a server may ignore `Upgrade`.
        let upgrade = seen.any(Fields::UPGRADE) && self.target.scheme != Scheme::H2c;
        let mut versions = if upgrade {
            Versions::Http1
        } else {
            Versions::All
        };
        let client = record.client().connection();
        let (mut repeated, mut fresh) = (false, false);
        record.not_sent(nth);
        loop {
            let checkout = match self.pool.checkout(versions, client, fresh).await {
                Ok(checkout) => checkout,
                Err(error) => return Err(self.unsent(attempt, error, request)),
            };
            if checkout.is_http2() && seen.any(Fields::CONTENT_LENGTH) {
                settle_length(&mut request);
            }
            let untouched = seen.any(Fields::EXPECT) && expects_continue(request.headers());
            if !checkout.is_http2() && !untouched && is_of_unknown_length(request.body()) {
                // Boxed, because most requests have no use for its timer.
                Box::pin(settle_body(&mut request)).await;
            }
            let spare = match checkout.is_http2() && !repeated {
                true => Spare::of(&request),
                false => None,
            };
            let before = match self.target.apply(&mut request, seen, checkout.is_http2()) {
                Ok(before) => before,
                Err(error) => return Err(ended(attempt, error)),
            };
            let reused = checkout.is_reused();
            record.sending(nth, reused);
            if reused {
                self.pool.counts.reused();
                self.pool.metrics.reused();
            }
            let mut failed = match send_on(checkout, request, seen, client).await {
                Ok(response) => {
                    if let Some(attempt) = &mut attempt {
                        attempt.ends(exchange.take());
                    }
                    return Ok(answered(response, attempt, record));
                }
                Err(Failure::Send(failed)) => *failed,
                Err(Failure::Response(error)) => {
                    let error = Error::new(ErrorKind::Connection)
                        .with(error)
                        .at(&self.target.name);
                    return Err(ended(attempt, error));
                }
            };
            request = match Resend::decide(&mut failed, spare, before, reused, repeated) {
                Resend::Again {
                    request,
                    on_new,
                    on_http1,
                    last,
                } => {
                    if on_http1 && self.target.scheme != Scheme::H2c {
                        versions = Versions::Http1;
                    }
                    (fresh, repeated) = (on_new, repeated | last);
                    request
                }
                Resend::Elsewhere(request) => {
                    return Err(self.unsent(attempt, self.failed(failed), request));
                }
                Resend::Never => return Err(ended(attempt, self.failed(failed))),
            };
            if !repeated {
                record.not_sent(nth);
            }
        }
    }

    /// Sends a request in the span of the client's own attempt.
    ///
    /// It is apart from the usual way because requests are large, and each step in between moves them.
    #[cold]
    fn call_in_span(&self, mut request: Request<Body>) -> ClientFuture {
        let begun = ClientAttempt::by(&self.target, &self.pool.attempts, &mut request);
        let span = begun.span();
        let sent = self.clone().send(request, Some(Box::new(begun)));
        ClientFuture(Box::pin(sent.instrument(span)))
    }

    /// Returns the error of an exchange that failed on its connection.
    fn failed(&self, failed: SendFailure) -> Error {
        Error::new(ErrorKind::Connection)
            .with(failed.error)
            .at(&self.target.name)
    }

    /// Returns the error of a request of which nothing was sent, with the request in it. Records it as the attempt's
    /// outcome.
    fn unsent(
        &self,
        attempt: Option<MeasuredAttempt>,
        error: Error,
        request: Request<Body>,
    ) -> SendError {
        if let Some(attempt) = attempt {
            attempt.failed(&error);
        }
        SendError::unsent(error, request)
    }
}

/// Returns the error of a request that may have been sent. Records it as the attempt's outcome.
fn ended(attempt: Option<MeasuredAttempt>, error: Error) -> SendError {
    if let Some(attempt) = attempt {
        attempt.failed(&error);
    }
    error.into()
}

/// Sends a request on a connection, whatever its version.
async fn send_on(
    checkout: Checkout,
    request: Request<Body>,
    seen: Seen,
    client: Option<ClientConnection>,
) -> Result<Response<VersionBody>, Failure> {
    match checkout {
        Checkout::Http1 { http1, .. } => {
            let response = http1.send(request, seen, client).await?;
            Ok(response.map(VersionBody::Http1))
        }
        #[cfg(feature = "http2")]
        Checkout::Http2 { stream, .. } => Ok(stream.send(request).await?.map(VersionBody::Http2)),
    }
}

/// Completes a response: records what its head says of the attempt, adds [`Info`] to its extensions, and puts the
/// attempt into the body, where it ends.
fn answered(
    mut response: Response<VersionBody>,
    attempt: Option<MeasuredAttempt>,
    record: Arc<Record>,
) -> Response<ClientBody> {
    if let Some(attempt) = &attempt {
        attempt.reached_body(response.status(), None);
        let class = class_of_head(&response);
        if class.is_failure() {
            attempt.answered(class);
        }
    }
    response.extensions_mut().insert(Info::new(record));
    let hold = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    response.map(|body| ClientBody::new(body, attempt, hold))
}

/// Makes `Content-Length` agree with the body, which a layer may have read or replaced since the head was written.
///
/// Over HTTP/1 the body alone decides (`http1/request_head.rs`). Over HTTP/2 a request whose length is not what it says
/// is malformed (RFC 9113 8.1.1).
fn settle_length(request: &mut Request<Body>) {
    let length = request.body().size_hint().exact();
    let said = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match length {
        Some(length) if said == Some(length) => {}
        Some(length) => drop(
            request
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length.into()),
        ),
        // The body will be chunked.
        None => drop(request.headers_mut().remove(header::CONTENT_LENGTH)),
    }
}

impl Service<Request<Body>> for Client {
    type Response = Response<ClientBody>;
    type Error = SendError;
    type Future = ClientFuture;

    /// Always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> ClientFuture {
        if spans_are_wanted() {
            return self.call_in_span(request);
        }
        // Boxed because the futures of the versions, hyper's among them, have no name.
        ClientFuture(Box::pin(self.clone().send(request, None)))
    }
}

/// The response future of [`Client`]. Resolves when the response head has arrived.
///
/// # Panics
///
/// When it is polled after it has completed.
pub struct ClientFuture(
    Pin<Box<dyn Future<Output = Result<Response<ClientBody>, SendError>> + Send>>,
);

impl Future for ClientFuture {
    type Output = Result<Response<ClientBody>, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ClientFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture").finish_non_exhaustive()
    }
}
