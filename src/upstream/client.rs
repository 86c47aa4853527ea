//! A client for one endpoint, as a tower service.

use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::TrySendError};
use tower::Service;

use super::{
    connect::Connector,
    http1::Http1Body,
    pool::{Checkout, Limits, Pool},
    target::{Scheme, Target},
};
use crate::{
    body::Body,
    error::{BoxError, Error, Kind},
    info::Info,
};

/// Sends requests to one server, over a pool of connections of its own.
///
/// The request comes in origin form (`/path?query`); the client puts the URL's base path in front and sets `Host` where
/// there is none. Clones share the pool. See the [module docs](crate::upstream).
///
/// # Cancel safety
///
/// Dropping the response future, or the response body before its end, cancels the request: an HTTP/1 connection closes,
/// an HTTP/2 stream is reset.
#[derive(Clone, Debug)]
pub struct Client {
    target: Arc<Target>,
    pool: Arc<Pool>,
}

/// Settings of [`Client`]s; one can build many.
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    limits: Limits,
    #[cfg(feature = "tls")]
    tls: Option<rustls::ClientConfig>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            limits: Limits {
                idle_timeout: Duration::from_secs(60),
                max_idle: 256,
                connect_timeout: Duration::from_secs(5),
            },
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl ClientBuilder {
    /// Longest time to connect, TLS handshake included. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect_timeout = timeout;
        self
    }

    /// How long an unused connection is kept. Default 60 s; a server that closes sooner is noticed before reuse.
    #[must_use]
    pub fn pool_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = timeout;
        self
    }

    /// How many unused connections are kept per endpoint. Default 256; connections in use are not limited.
    #[must_use]
    pub fn pool_max_idle(mut self, max: usize) -> Self {
        self.limits.max_idle = max;
        self
    }

    /// TLS settings instead of the platform's trust roots: own roots, client certificates. ALPN is set by the client.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: rustls::ClientConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// A client for `url`: `http://`, `https://` or `h2c://`, a host, an optional port and an optional base path.
    ///
    /// # Errors
    ///
    /// A config error when the URL cannot be one, or the platform's trust roots cannot be read.
    pub fn build(&self, url: &str) -> Result<Client, Error> {
        let target: Arc<Target> = Arc::new(url.parse()?);
        let connector = Connector::new(self.limits.connect_timeout);
        #[cfg(feature = "tls")]
        let connector = match (target.scheme, &self.tls) {
            (Scheme::Https, Some(config)) => connector.with_tls(config.clone()),
            (Scheme::Https, None) => connector.with_tls(super::connect::default_tls()?),
            (Scheme::Http | Scheme::H2c, _) => connector,
        };
        let pool = Arc::new(Pool::new(target.clone(), connector, self.limits));
        Ok(Client { target, pool })
    }
}

impl Client {
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
        let upgrade = request.headers().contains_key(header::UPGRADE);
        loop {
            let checkout = match self.pool.checkout(upgrade).await {
                Ok(checkout) => checkout,
                Err(error) => return Err(SendError { error, request: Mutex::new(Some(Box::new(request))) }),
            };
            let before = self.target.apply(&mut request, checkout.is_http2())?;
            let (sent, again) = match checkout {
                Checkout::Http1 { http1, reused } => {
                    let spare = Spare::of(&request, reused);
                    (http1.send(request, &self.pool).await.map(|r| r.map(ClientBody::http1)), spare)
                }
                #[cfg(feature = "http2")]
                Checkout::Http2(http2) => (http2.send(request).await.map(|r| r.map(ClientBody::http2)), None),
            };
            let mut failed = match sent {
                Ok(mut response) => {
                    response.extensions_mut().insert(Info::new(self.target.name.clone()));
                    return Ok(response);
                }
                Err(failed) => failed,
            };
            request = match (failed.take_message(), again) {
                // The connection closed before it took the request.
                (Some(unsent), _) => unsent,
                (None, Some(spare)) if is_early_close(&failed) => spare.into_request(),
                (None, _) => return Err(self.failed(failed).into()),
            };
            before.restore(&mut request);
        }
    }

    fn failed(&self, failed: TrySendError<Request<Body>>) -> Error {
        Error::new(Kind::Exchange).with(failed.into_error()).at(&self.target.name)
    }
}

/// A copy of a head that may be sent once more.
///
/// RFC 9110 9.2.2: a proxy must not automatically retry a request whose method is not idempotent. One that is, without
/// a body, and on a connection that had idled, may be: the server most likely closed it as the request went out.
struct Spare {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Spare {
    fn of(request: &Request<Body>, reused: bool) -> Option<Self> {
        (reused && request.method().is_idempotent() && request.body().is_end_stream()).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    fn into_request(self) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

/// The connection ended before the first byte of a response.
fn is_early_close(failed: &TrySendError<Request<Body>>) -> bool {
    let error = failed.error();
    error.is_canceled() || error.is_closed() || error.is_incomplete_message() || {
        let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        io.is_some_and(|io| {
            use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
            matches!(io.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
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
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Result<Response<ClientBody>, SendError>> + Send>>);

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

/// The response body of [`Client`].
#[derive(Debug)]
pub struct ClientBody(Version);

#[derive(Debug)]
enum Version {
    Http1(Http1Body),
    #[cfg_attr(not(feature = "http2"), expect(dead_code))]
    Http2(Incoming),
}

impl ClientBody {
    fn http1(body: Http1Body) -> Self {
        Self(Version::Http1(body))
    }

    #[cfg(feature = "http2")]
    fn http2(body: Incoming) -> Self {
        Self(Version::Http2(body))
    }
}

impl http_body::Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match &mut self.0 {
            Version::Http1(body) => Pin::new(body).poll_frame(cx),
            Version::Http2(body) => Pin::new(body).poll_frame(cx),
        };
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Version::Http1(body) => body.is_end_stream(),
            Version::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Version::Http1(body) => body.size_hint(),
            Version::Http2(body) => body.size_hint(),
        }
    }
}

/// Why a [`Client`] failed, and the request, if not a byte of it was sent.
#[derive(Debug)]
pub struct SendError {
    error: Error,
    /// Never locked: the mutex makes it `Sync`, as errors must be and bodies need not.
    request: Mutex<Option<Box<Request<Body>>>>,
}

impl SendError {
    /// The request, when it was not sent and can go elsewhere.
    pub fn take_request(&mut self) -> Option<Request<Body>> {
        let request = self.request.get_mut().unwrap_or_else(PoisonError::into_inner);
        request.take().map(|request| *request)
    }

    /// What a service failed with, and the request if this type says that it was not sent.
    pub(crate) fn split(error: BoxError) -> (Error, Option<Request<Body>>) {
        match error.downcast::<Self>() {
            Ok(mut error) => {
                let request = error.take_request();
                (error.into_error(), request)
            }
            Err(error) => (Error::from_service(error), None),
        }
    }

    /// Why.
    #[must_use]
    pub fn into_error(self) -> Error {
        self.error
    }
}

impl From<Error> for SendError {
    fn from(error: Error) -> Self {
        Self { error, request: Mutex::default() }
    }
}

impl From<Infallible> for SendError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<SendError> for Error {
    fn from(failed: SendError) -> Self {
        failed.error
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for SendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}
