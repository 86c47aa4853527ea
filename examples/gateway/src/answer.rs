//! One request of a connection: what is done with it, and its line in the log.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::body::Body;
use axum_upstream::access_log::AccessLogLayer;
use http::{Request, Response};
use hyper::body::Incoming;
use tower::{Layer, Service, service_fn};
use tracing::Level;

use crate::{
    connection::Upload,
    entrance::Gate,
    forwarding::{Forwarder, infallible},
    log::LogLine,
    tls::remove_client_cert,
};

/// Answers the requests of one connection. It is cloned for each of them.
pub(crate) struct Answerer {
    /// Forwards them.
    pub(crate) forwarder: Forwarder,
    /// Whether each request has a line among all else that is logged.
    pub(crate) short_line: bool,
    /// What is done besides. `None` is nothing.
    pub(crate) filters: Option<Arc<RequestFilters>>,
}

/// What is done with the requests of a connection besides forwarding them. There is a gate, an access log, or both.
pub(crate) struct RequestFilters {
    /// Stops some of them.
    gate: Option<Gate>,
    /// Logs a line at the end of each.
    access_log: Option<AccessLogLayer>,
    /// The client's address, for the access log.
    address: Option<SocketAddr>,
}

impl RequestFilters {
    /// Returns what there is to do for the client with this address. `None` if it is nothing.
    pub(crate) fn new(
        gate: Option<Gate>,
        access_log: Option<AccessLogLayer>,
        address: Option<SocketAddr>,
    ) -> Option<Arc<Self>> {
        let is_nothing = gate.is_none() && access_log.is_none();
        (!is_nothing).then(|| {
            Arc::new(Self {
                gate,
                access_log,
                address,
            })
        })
    }
}

impl Clone for Answerer {
    /// Not derived, so that it is not inlined: what hyper calls for each request would be too large to be inlined
    /// itself, and the future that it returns would be moved.
    #[inline(never)]
    fn clone(&self) -> Self {
        Self {
            forwarder: self.forwarder.clone(),
            short_line: self.short_line,
            filters: self.filters.clone(),
        }
    }
}

impl Answerer {
    /// Answers one request, and logs it.
    pub(crate) async fn answer(self, mut request: Request<Upload<Incoming>>) -> Response<Body> {
        remove_client_cert(request.headers_mut());
        match self.filters {
            // Boxed: without filters, the future of each request is as small as it can be.
            Some(filters) => {
                Box::pin(filtered(filters, self.forwarder, request, self.short_line)).await
            }
            None => forward(self.forwarder, request, self.short_line).await,
        }
    }
}

/// Answers one request, and logs it if there is an access log.
async fn filtered(
    filters: Arc<RequestFilters>,
    forwarder: Forwarder,
    mut request: Request<Upload<Incoming>>,
    short: bool,
) -> Response<Body> {
    let Some(log) = &filters.access_log else {
        return pass(filters.gate.as_ref(), forwarder, request, short).await;
    };
    // A request that is not forwarded has no proxy that would tell the log of its client.
    if let Some(address) = filters.address {
        request.extensions_mut().insert(address);
    }
    let pass = service_fn(|request| {
        let (filters, forwarder) = (Arc::clone(&filters), forwarder.clone());
        async move {
            let gate = filters.gate.as_ref();
            Ok::<_, Infallible>(pass(gate, forwarder, request, false).await)
        }
    });
    infallible(log.layer(pass).call(request).await).map(Body::new)
}

/// Forwards one request, if the gate lets it through.
async fn pass(
    gate: Option<&Gate>,
    forwarder: Forwarder,
    mut request: Request<Upload<Incoming>>,
    short: bool,
) -> Response<Body> {
    match gate.and_then(|gate| gate.pass(&mut request)) {
        Some(refusal) => {
            if let Some(mut line) = log_line(&request, short) {
                line.answered(&refusal);
            }
            refusal
        }
        None => forward(forwarder, request, short).await,
    }
}

/// Forwards one request, with a short line in the log if there are such lines.
async fn forward(
    mut forwarder: Forwarder,
    request: Request<Upload<Incoming>>,
    short: bool,
) -> Response<Body> {
    let mut line = log_line(&request, short);
    let response = match &mut forwarder {
        Forwarder::Cluster(proxy) => infallible(proxy.call(request).await),
        // Boxed, so that a request to a cluster has no room for it.
        Forwarder::Routes(_) | Forwarder::Cached(_) => Box::pin(forwarder.forward(request)).await,
    };
    if let Some(line) = &mut line {
        line.answered(&response);
    }
    response
}

/// Returns the line of a request, if there are such lines.
#[inline]
fn log_line<B>(request: &Request<B>, short: bool) -> Option<LogLine> {
    (short && tracing::enabled!(Level::INFO)).then(|| LogLine::new(request))
}
