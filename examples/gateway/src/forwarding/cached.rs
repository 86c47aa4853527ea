//! A cache in front of the cluster or the routes.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use axum_upstream::cache::{Cache, CacheLayer, STEERING_FIELDS};
use http::{HeaderName, Request, Response, uri::Scheme};
use hyper::body::Incoming;
use tower::{Layer, Service};

use super::{Forwarder, Forwarding, infallible};
use crate::connection::Upload;

/// For how long a stale response is used while no endpoint has another one, unless it says something else.
const STALE_IF_ERROR: Duration = Duration::from_secs(60);

/// What the requests of one connection go through.
#[derive(Debug)]
pub(crate) struct CachedForwarder {
    cache: Cache<ForwarderService>,
    /// Whether the client speaks TLS.
    is_tls: bool,
}

/// A forwarder as a service.
#[derive(Debug, Clone)]
struct ForwarderService(Forwarder);

/// Returns a cache of this many bytes for what is forwarded.
pub(crate) fn cache_layer(max_bytes: u64, forwarding: &Forwarding) -> CacheLayer {
    let cache = CacheLayer::in_memory(max_bytes).stale_if_error(STALE_IF_ERROR);
    match forwarding {
        // The proxy replaces these fields, whoever has sent them. A route may trust who has.
        Forwarding::Cluster(_) => {
            let is_replaced = |name: &&&str| {
                name.starts_with("x-forwarded-") || matches!(**name, "forwarded" | "x-real-ip")
            };
            let others = STEERING_FIELDS.iter().filter(|name| !is_replaced(name));
            cache.steering_fields(others.map(|name| HeaderName::from_static(name)))
        }
        Forwarding::Routes(_) => cache,
    }
    .build()
}

impl CachedForwarder {
    /// Puts the cache in front of the forwarder of a connection.
    pub(crate) fn new(cache: &CacheLayer, forwarder: Forwarder, is_tls: bool) -> Self {
        Self {
            cache: cache.layer(ForwarderService(forwarder)),
            is_tls,
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, mut request: Request<Upload<Incoming>>) -> Response<Body> {
        // A client may write another one into its target.
        request.extensions_mut().insert(match self.is_tls {
            true => Scheme::HTTPS,
            false => Scheme::HTTP,
        });
        infallible(self.cache.clone().call(request).await).map(Body::new)
    }
}

impl Service<Request<Upload<Incoming>>> for ForwarderService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Upload<Incoming>>) -> Self::Future {
        let forwarder = self.0.clone();
        Box::pin(async move { Ok(forwarder.forward(request).await) })
    }
}
