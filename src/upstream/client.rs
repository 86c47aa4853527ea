//! A client for one endpoint, as a tower service.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, HeaderMap, Method, Request, Response, Uri, header};
use http_body::Body as _;
use hyper::client::conn::TrySendError;
use tower::Service;

#[cfg(feature = "http2")]
use super::http2::{is_refused, needs_http1};
use super::{
    ClientBody, ClientBuilder, SendError,
    connect::Versions,
    pool::{Checkout, Pool},
    target::{Scheme, Target},
};
use crate::{
    body::Body,
    error::{Error, Kind},
    info::{Info, Tracker},
    rewrite::{Fields, Seen},
};

/// Sends requests to one server, over a pool of connections of its own.
///
/// The request comes in origin form (`/path?query`); the client puts the URL's base path in front and sets `Host` where
/// there is none. Clones share the pool. See the [module docs](crate::upstream).
///
/// # Cancel safety
///
/// Dropping the response future, or the response body before its end, cancels the request: an HTTP/1 connection closes,
/// an HTTP/2 stream is reset, but no sooner than 50 ms after it was opened.
#[derive(Clone, Debug)]
pub struct Client {
    target: Arc<Target>,
    pool: Arc<Pool>,
}

impl Client {
    pub(super) fn new_in(target: Arc<Target>, pool: Arc<Pool>) -> Self {
        Self { target, pool }
    }

    /// A client with the default settings.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::build`].
    pub fn new(url: &str) -> Result<Self, Error> {
        ClientBuilder::default().build(url)
    }

    /// The settings, to change them.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The URL it was built from.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.target.name
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.target.name
    }

    async fn send(self, mut request: Request<Body>) -> Result<Response<ClientBody>, SendError> {
        request.body().note_endpoint(&self.target.name);
        let seen = Seen::in_head(request.headers());
        if seen.any(Fields::CONTENT_LENGTH) {
            settle_length(&mut request);
        }
        // Prior knowledge says that no HTTP/1 can be had: there an upgrade goes as the plain request it also is.
        let upgrade = seen.any(Fields::UPGRADE) && self.target.scheme != Scheme::H2c;
        let mut versions = if upgrade {
            Versions::Http1
        } else {
            Versions::All
        };
        let (mut repeated, mut fresh) = (false, false);
        loop {
            let checkout = match self.pool.checkout(versions, fresh).await {
                Ok(checkout) => checkout,
                Err(error) => return Err(SendError::unsent(error, request)),
            };
            let before = self.target.apply(&mut request, seen, checkout.is_http2())?;
            let spare = Spare::of(&request, &checkout, repeated);
            let reused = checkout.is_reused();
            let sent = match checkout {
                Checkout::Http1 { http1, .. } => http1
                    .send(request, seen, &self.pool)
                    .await
                    .map(|response| response.map(ClientBody::http1)),
                #[cfg(feature = "http2")]
                Checkout::Http2 { stream, .. } => match stream.send(request).await {
                    Ok(Ok(response)) => Ok(response.map(ClientBody::http2)),
                    Ok(Err(too_large)) => {
                        let error = Error::new(Kind::Exchange).with(too_large);
                        return Err(error.at(&self.target.name).into());
                    }
                    Err(failed) => Err(failed),
                },
            };
            let mut failed = match sent {
                Ok(mut response) => {
                    response
                        .extensions_mut()
                        .insert(Info::new(self.target.name.clone(), 1));
                    return Ok(response);
                }
                Err(failed) => failed,
            };
            let http1 = needs_http1(failed.error()) && self.target.scheme != Scheme::H2c;
            let (mut again, unsent) = match (failed.take_message(), spare) {
                // The connection closed before it took the request.
                (Some(unsent), _) => (unsent, true),
                (None, Some(spare)) if http1 || spare.may_be_repeated(failed.error()) => {
                    (spare.into_request(), false)
                }
                (None, _) => return Err(self.failed(failed).into()),
            };
            before.restore(&mut again);
            if unsent && !reused {
                // A server that closes what it has just accepted would do so for ever.
                return Err(SendError::unsent(self.failed(failed), again));
            }
            if !unsent {
                repeated = true;
                if http1 {
                    versions = Versions::Http1;
                }
                // Where one idle connection was closed, others may be too; a refused stream says nothing of them.
                fresh = !(http1 || is_refused(failed.error()));
            }
            request = again;
        }
    }

    fn failed(&self, failed: TrySendError<Request<Body>>) -> Error {
        Error::new(Kind::Exchange)
            .with(failed.into_error())
            .at(&self.target.name)
    }
}

/// Makes `Content-Length` say what the body is, which a layer may have read or replaced since the head was written. A
/// request that is shorter than it says would swallow the next one on its connection.
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
        // Then it will be chunked.
        None => drop(request.headers_mut().remove(header::CONTENT_LENGTH)),
    }
}

/// A copy of a head without a body, which may be sent once more.
struct Spare {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    tracker: Option<Tracker>,
    reused: bool,
}

impl Spare {
    /// Only what could be repeated is worth a copy: on a new HTTP/1 connection nothing could.
    fn of(request: &Request<Body>, checkout: &Checkout, repeated: bool) -> Option<Self> {
        let reused = match checkout {
            Checkout::Http1 { reused, .. } => *reused && request.method().is_idempotent(),
            #[cfg(feature = "http2")]
            Checkout::Http2 { .. } => true,
        };
        (reused && !repeated && request.body().is_end_stream()).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            extensions: request.extensions().clone(),
            tracker: request.body().tracker().cloned(),
            reused: checkout.is_reused(),
        })
    }

    /// RFC 9110 9.2.2: a proxy must not automatically retry a request whose method is not idempotent, unless it knows
    /// that it was not processed. An idempotent one may be when the connection had idled: the server most likely closed
    /// it as the request went out.
    fn may_be_repeated(&self, error: &hyper::Error) -> bool {
        if is_refused(error) {
            return true;
        }
        #[cfg(feature = "http2")]
        if super::http2::is_go_away(error) {
            return true;
        }
        self.reused && self.method.is_idempotent() && is_early_close(error)
    }

    fn into_request(self) -> Request<Body> {
        let mut body = Body::empty();
        if let Some(tracker) = self.tracker {
            body = body.with_tracker(tracker);
        }
        let mut request = Request::new(body);
        *request.extensions_mut() = self.extensions;
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

#[cfg(not(feature = "http2"))]
fn is_refused(_: &hyper::Error) -> bool {
    false
}

#[cfg(not(feature = "http2"))]
fn needs_http1(_: &hyper::Error) -> bool {
    false
}

/// The connection ended before the first byte of a response.
fn is_early_close(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message() || {
        let io = error
            .source()
            .and_then(|source| source.downcast_ref::<std::io::Error>());
        io.is_some_and(|io| {
            // The last is what rustls says of a close without a farewell.
            use std::io::ErrorKind::{
                BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof,
            };
            matches!(
                io.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
            )
        })
    }
}

impl Service<Request<Body>> for Client {
    type Response = Response<ClientBody>;
    type Error = SendError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        // Boxed because hyper's own response futures have no name.
        ResponseFuture(Box::pin(self.clone().send(request)))
    }
}

/// The response future of [`Client`].
pub struct ResponseFuture(
    Pin<Box<dyn Future<Output = Result<Response<ClientBody>, SendError>> + Send>>,
);

impl Future for ResponseFuture {
    type Output = Result<Response<ClientBody>, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
