//! The line that is logged for each request.

use std::sync::Arc;

use axum_upstream::{Error, Info};
use http::{Method, Request, Response};
use tokio::time::Instant;

/// One line per request, written when this is dropped: a client that disconnects drops the request that it waits for.
pub(crate) struct LogLine {
    /// The method of the request.
    method: Method,
    /// The path of the request, without the query, which may contain secrets.
    path: String,
    /// When the request head had arrived.
    start: Instant,
    /// The endpoint that answered or failed, if there was one.
    endpoint: Option<String>,
    /// The status of the response.
    status: u16,
}

impl LogLine {
    /// Takes what the line says of the request.
    pub(crate) fn new<B>(request: &Request<B>) -> Self {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        Self {
            method,
            path,
            start: Instant::now(),
            endpoint: None,
            // What nginx logs for a client that did not wait.
            status: 499,
        }
    }

    /// Takes the status, and the endpoint that answered or failed.
    pub(crate) fn answered<B>(&mut self, response: &Response<B>) {
        let answered = response.extensions().get::<Info>().and_then(Info::endpoint);
        let failed = response
            .extensions()
            .get::<Arc<Error>>()
            .and_then(|error| error.endpoint());
        self.status = response.status().as_u16();
        self.endpoint = answered.or(failed).map(ToOwned::to_owned);
    }
}

impl Drop for LogLine {
    /// Writes the line, with the time to the response head.
    fn drop(&mut self) {
        let Self {
            method,
            path,
            start,
            endpoint,
            status,
        } = self;
        let endpoint = endpoint.as_deref().unwrap_or("-");
        tracing::info!(%method, path, endpoint, status, time = ?start.elapsed());
    }
}
