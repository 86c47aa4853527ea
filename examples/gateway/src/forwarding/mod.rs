//! Where requests go: to the one cluster of the command line, or as the routes of a file say.
//!
//! `start.rs` makes the cluster, or the routes, at the start of the program. `cached.rs` puts a cache in front of them.

mod cached;
mod start;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use axum_upstream::{
    LoadBalance, ReverseProxy,
    config::{LiveConfig, RouteService},
};
use http::{Request, Response, uri::Scheme};
use hyper::body::Incoming;
use tower::Service;

pub(crate) use self::{
    cached::{CachedForwarder, cache_layer},
    start::Forwarded,
};
use crate::connection::Upload;

/// Where the requests of all connections go.
#[derive(Debug, Clone)]
pub(crate) enum Forwarding {
    /// To a cluster.
    Cluster(ReverseProxy<LoadBalance>),
    /// As routes say, which may change.
    Routes(LiveConfig),
}

/// Where the requests of one connection go. Cloned for each of them.
#[derive(Debug, Clone)]
pub(crate) enum Forwarder {
    /// To a cluster, by a proxy that knows the client.
    Cluster(ReverseProxy<LoadBalance>),
    /// As routes say. Behind a pointer, so that this is no larger than a proxy.
    Routes(Arc<ClientRoutes>),
    /// To one of the others, unless the cache has the response.
    Cached(Arc<CachedForwarder>),
}

/// The routes for the requests of one client.
#[derive(Debug)]
pub(crate) struct ClientRoutes {
    service: RouteService,
    /// The client's address, as far as it has one.
    address: Option<SocketAddr>,
    /// Whether the client speaks TLS.
    is_tls: bool,
}

impl Forwarding {
    /// Returns what forwards the requests of a client.
    pub(crate) fn for_client(&self, address: Option<SocketAddr>, is_tls: bool) -> Forwarder {
        match self {
            Self::Cluster(proxy) => {
                let proxy = match is_tls {
                    true => proxy.clone().behind_tls(),
                    false => proxy.clone(),
                };
                Forwarder::Cluster(match address {
                    Some(address) => proxy.client_addr(address),
                    None => proxy,
                })
            }
            Self::Routes(live) => Forwarder::Routes(Arc::new(ClientRoutes {
                service: live.service(),
                address,
                is_tls,
            })),
        }
    }

    /// Waits for the tunnels to end, and closes those that are still open after `grace`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before `grace` has passed leaves the tunnels open.
    pub(crate) async fn close_tunnels(&self, grace: Duration) {
        match self {
            Self::Cluster(proxy) => proxy.close_tunnels(grace).await,
            Self::Routes(live) => live.close_tunnels(grace).await,
        }
    }
}

impl Forwarder {
    /// Forwards one request.
    pub(crate) async fn forward(mut self, request: Request<Upload<Incoming>>) -> Response<Body> {
        match &mut self {
            Self::Cluster(proxy) => infallible(proxy.call(request).await),
            Self::Routes(routes) => routes.answer(request).await,
            Self::Cached(cached) => cached.answer(request).await,
        }
    }
}

impl ClientRoutes {
    /// Answers one request, as the route says that takes it.
    pub(crate) async fn answer(&self, mut request: Request<Upload<Incoming>>) -> Response<Body> {
        let known = request.extensions_mut();
        if let Some(address) = self.address {
            known.insert(address);
        }
        if self.is_tls {
            known.insert(Scheme::HTTPS);
        }
        infallible(self.service.clone().call(request).await)
    }
}

/// Returns what cannot be an error.
pub(crate) fn infallible<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}
