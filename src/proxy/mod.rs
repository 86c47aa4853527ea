//! Mounting: [`ReverseProxy`] answers every request it gets, [`ProxyLayer`] those that match.
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

mod client_addr;
mod future;
mod http10;
mod layer;
mod matcher;
mod respond;
mod reverse_proxy;
mod service;

pub use self::{
    future::ProxyFuture,
    layer::ProxyLayer,
    reverse_proxy::ReverseProxy,
    service::{Proxy, RouteFuture},
};
