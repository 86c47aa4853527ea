//! The line per request.

use std::sync::Arc;

use axum_upstream::{Error, Info};
use http::{Method, Request, Response};
use tokio::time::Instant;

/// One line per request, written when this is dropped: a client that goes away drops the request it waits for.
pub(crate) struct LogLine {
    method: Method,
    path: String,
    start: Instant,
    endpoint: Option<String>,
    status: u16,
}

impl LogLine {
    pub(crate) fn new<B>(request: &Request<B>) -> Self {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        // What nginx logs for a client that did not wait.
        Self {
            method,
            path,
            start: Instant::now(),
            endpoint: None,
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
