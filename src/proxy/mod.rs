//! Mounts a proxy in an axum application: [`ReverseProxy`] answers every request that it gets, [`ProxyLayer`] those
//! that match; [`ForwardProxy`] is a server's own service.
//!
//! ```
//! use axum::{Router, http::Method, routing::get};
//! use axum_upstream::{LoadBalance, ProxyLayer, ReverseProxy};
//!
//! let backends = LoadBalance::new(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
//!
//! // What the router has no route for.
//! let app: Router = Router::new()
//!     .route("/healthz", get(|| async { "ok" }))
//!     .fallback_service(ReverseProxy::new(backends.clone()));
//!
//! // Selected requests, before the router looks at them.
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "home" }))
//!     .layer(ProxyLayer::new(backends.clone()).path_prefix("/api").method(Method::GET));
//!
//! // One route; a nested path, with its prefix taken off.
//! let app: Router = Router::new()
//!     .route_service("/api/{*rest}", ReverseProxy::new(backends))
//!     .nest_service("/legacy", ReverseProxy::to("http://127.0.0.1:5002/base")?);
//! # Ok::<(), axum_upstream::Error>(())
//! ```
//!
//! [`ReverseProxy`] has all settings of heads, deadlines, limits and hooks, each documented with its default at its
//! method. A request from within a handler, which has looked at it first, is sent by [`ReverseProxy::forward`].
//!
//! What a client has sent besides the head is taken from the request's extensions: its address, as
//! `ConnectInfo<SocketAddr>` or as a bare `SocketAddr`; the scheme, as an `http::uri::Scheme`; the prefix that a
//! nesting router has removed. A server of your own can put the first two there.
//!
//! Everything that fails becomes a response here, and nowhere else: a status, a short text without addresses or causes,
//! and the [`Error`](crate::Error) in its extensions. [`docs::errors`](crate::docs::errors) has the statuses.
//!
//! A [`ForwardProxy`] is for clients that name the server themselves:
//!
//! ```
//! use axum_upstream::{ForwardProxy, proxy::TargetPolicy};
//!
//! // All of the public internet, but for these hosts and those below the last one.
//! let policy = TargetPolicy::new().deny_hosts(["ads.example", "*.tracker.example"])?;
//! let proxy = ForwardProxy::new(policy);
//! # Ok::<(), axum_upstream::Error>(())
//! ```
//!
//! [`docs::forward_proxy`](crate::docs::forward_proxy) has its defaults, and what it protects from.
//!
//! Not here: listening, TLS towards clients and limits on their connections, which are the server's; and everything
//! about endpoints, which the service behind the proxy decides, a [`LoadBalance`](crate::LoadBalance) or any other.

mod client_addr;
mod forward_proxy;
mod future;
mod http10;
mod layer;
mod matcher;
mod respond;
mod reverse_proxy;
mod service;

pub use self::{
    forward_proxy::{
        ForwardProxy, ForwardProxyFuture, ProxyUser, RequestTarget, TargetFacts, TargetPolicy,
        TargetProtocol,
    },
    future::ProxyFuture,
    layer::ProxyLayer,
    reverse_proxy::ReverseProxy,
    service::{Proxy, RouteFuture},
};
