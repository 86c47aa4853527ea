//! A client for one endpoint, as a tower service.
//!
//! What happens to one request is in `sending.rs`, and its future in `client_future.rs`.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower::Service;

use super::{
    body::ClientBody, client_attempt::ClientAttempt, client_future::ClientFuture, error::SendError,
    pool::Pool, sending::Sending, target::Target,
};
#[cfg(feature = "status")]
use crate::telemetry::PoolReport;
use crate::{body::Body, error::Error, record::spans_are_wanted};

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

    /// Returns the URL without copying it.
    pub(crate) fn shared_url(&self) -> Arc<str> {
        self.target.url.clone()
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

    /// Returns what is known at the beginning of the sending of a request.
    fn sending(&self, begun: ClientAttempt, request: &Request<Body>) -> Sending {
        Sending::new(self.target.clone(), self.pool.clone(), begun, request)
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
}

impl Service<Request<Body>> for Client {
    type Response = Response<ClientBody>;
    type Error = SendError;
    type Future = ClientFuture;

    /// Always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> ClientFuture {
        let begun = ClientAttempt::by(&self.target, &self.pool.attempts, &mut request);
        match spans_are_wanted() {
            true => ClientFuture::in_span(begun.span(), self.sending(begun, &request), request),
            false => ClientFuture::new(self.sending(begun, &request), request),
        }
    }
}
