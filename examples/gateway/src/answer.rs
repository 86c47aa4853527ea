//! One request of a connection: what is done with it, and its line in the log.

use std::{convert::Infallible, sync::Arc};

use axum::body::Body;
use axum_upstream::{LoadBalance, ReverseProxy, access_log::AccessLogLayer};
use http::{Request, Response};
use hyper::body::Incoming;
use tower::{Layer, Service, service_fn};
use tracing::Level;

use crate::{connection::Upload, entrance::Gate, log::LogLine};

/// The proxy that every connection has a clone of.
pub(crate) type Proxy = ReverseProxy<LoadBalance>;

/// Answers the requests of one connection.
#[derive(Clone)]
pub(crate) struct Answerer {
    /// Forwards them.
    pub(crate) proxy: Proxy,
    /// What is done before that. `None` is nothing.
    pub(crate) gate: Option<Arc<Gate>>,
    /// Whether each request has a line among all else that is logged.
    pub(crate) short_line: bool,
    /// Logs a line at the end of each request.
    pub(crate) access_log: Option<AccessLogLayer>,
}

impl Answerer {
    /// Answers one request, and logs it.
    pub(crate) async fn answer(mut self, request: Request<Upload<Incoming>>) -> Response<Body> {
        match self.access_log.take() {
            // Boxed: without the log, the future of each request is as small as it can be.
            Some(log) => Box::pin(self.answer_logged(log, request)).await,
            None => self.forward(request).await,
        }
    }

    /// Answers one request that is in the access log.
    async fn answer_logged(
        self,
        log: AccessLogLayer,
        request: Request<Upload<Incoming>>,
    ) -> Response<Body> {
        let forward = service_fn(|request| {
            let answerer = self.clone();
            async { Ok::<_, Infallible>(answerer.forward(request).await) }
        });
        match log.layer(forward).call(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    }

    /// Forwards one request, with a short line in the log if there are such lines.
    async fn forward(mut self, mut request: Request<Upload<Incoming>>) -> Response<Body> {
        let is_logged = self.short_line && tracing::enabled!(Level::INFO);
        let mut line = is_logged.then(|| LogLine::new(&request));
        let refused = self.gate.as_ref().and_then(|gate| gate.pass(&mut request));
        let response = match refused {
            Some(response) => response,
            None => match self.proxy.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
        };
        if let Some(line) = &mut line {
            line.answered(&response);
        }
        response
    }
}
