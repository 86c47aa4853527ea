//! A reverse proxy and load balancer as tower middleware for [axum].
//!
//! ```text
//! downstream ─► proxy     ReverseProxy takes every request, ProxyLayer those that match
//!                  ▼
//!               forward   rewrites heads · enforces deadlines · upgrades connections
//!                  ▼
//!  discover ─►  balance   LoadBalance: picks the better of two endpoints sampled at random
//!                  ▼
//!               endpoint  one server: its weight and its load
//!                  ▼
//!               upstream  its client: connection pool, TLS, HTTP/1 and HTTP/2 ─► server
//! ```
//!
//! "Downstream" is the direction toward the client, "upstream" the direction toward an endpoint. An *endpoint* is one
//! server address; a *cluster* is the set of endpoints that a [`LoadBalance`] balances. An *exchange* is one request of
//! a client and its response; it consists of one or more *attempts*, each of which sends the request to one endpoint.
//!
//! Each part is a tower service that is generic over the next one, so any other layer fits around or between them, and
//! an endpoint may be any `tower::Service<Request<Body>>`: the HTTP client of this crate, an axum `Router` in the same
//! process, a mock.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use axum_upstream::{LoadBalance, ReverseProxy};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), axum_upstream::BoxError> {
//!     let backends = LoadBalance::new(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
//!     let app = Router::new()
//!         .route("/healthz", get(|| async { "ok" }))
//!         .fallback_service(ReverseProxy::new(backends));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     // X-Forwarded-For needs the client's address.
//!     let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
//!     axum::serve(listener, app).await?;
//!     Ok(())
//! }
//! ```
//!
//! Where to read on:
//!
//! - [`proxy`]: other ways to mount the proxy, and all its settings.
//! - [`ForwardProxy`]: a proxy for clients that name the server, and [`docs::forward_proxy`] for what they may reach.
//! - [`balance`]: clusters that change at run time, and [`policy`] for how an endpoint is picked.
//! - [`endpoint`] and [`upstream`]: weights, endpoints that are services of your own, and the settings of connections.
//! - [`discover`]: clusters that follow a source of endpoints.
//! - `config`, with the feature of that name: clusters and routes by a file.
//! - [`clusters`]: clusters that come and go, one of which is chosen for each request.
//! - [`mirror`]: copies of requests for a second cluster, whose answers are compared or dropped.
//! - [`split`]: one of several clusters for each request, for canaries, blue and green.
//! - [`retry`] and [`health`]: what is done about requests and endpoints that fail.
//! - `cache`, with the feature of that name: a shared cache around any service.
//! - [`access_log`]: a log with one line per exchange.
//! - [`rewrite`]: which fields of a request or response head are changed.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `http2` | yes | HTTP/2 to endpoints, by ALPN over TLS or with `h2c://`; WebSockets over HTTP/2, both ways |
//! | `tls` | yes | `https://` endpoints: `tls-ring` and `tls-native-roots` |
//! | `tls-ring` | by `tls` | TLS with the cryptography of [ring] |
//! | `tls-aws-lc` | no | TLS with the cryptography of [aws-lc-rs], also where `tls-ring` is on |
//! | `tls-native-roots` | by `tls` | servers are verified against the platform's trust roots |
//! | `tls-webpki-roots` | no | servers are verified against Mozilla's roots, built in, where the platform has none |
//! | `adaptive-limit` | no | limits of requests in flight that follow what each endpoint can take |
//! | `cache` | no | `cache::CacheLayer`: a shared cache, as RFC 9111 has it, around any service |
//! | `config` | no | `config::Config`: clusters and routes by a file in TOML or as data, with reload |
//! | `dns` | no | `discover::Dns`: the addresses or SRV records of a name as endpoints; needs Rust 1.88 |
//! | `etcd` | no | `discover::Etcd`: the keys of a prefix in etcd as endpoints |
//! | `file` | no | `discover::WatchedFile`: the lines of a file, or an array in TOML, as endpoints |
//! | `status` | no | the status of clusters as data, and a router that serves it with a live page |
//! | `kubernetes` | no | `discover::Kubernetes`: the EndpointSlices of a Service as endpoints |
//! | `metrics` | no | metrics for the recorders of the [metrics] crate, such as an exporter for Prometheus |
//! | `opentelemetry` | no | trace context: a request continues its client's trace, an attempt sends its own span |
//!
//! HTTP/1 to endpoints needs no feature. Which versions clients can speak is decided by the server around the proxy,
//! for example by axum's feature `http2`.
//!
//! # Cancel safety
//!
//! Dropping a response future or a response body of this crate cancels the exchange, as hyper does when a client
//! disconnects: an HTTP/1 connection to the endpoint is closed, an HTTP/2 stream is reset, and the request no longer
//! counts as load. A tunnel, once an upgrade has opened it, is no longer part of the response and outlives it: see
//! [`ReverseProxy::close_tunnels`].
//!
//! # Errors
//!
//! Settings that cannot work are refused with an [`Error`] that names them. A request that fails in a [`ReverseProxy`]
//! becomes a response: a status, a short body without addresses or causes, and the [`Error`] as an `Arc<Error>` in the
//! response's extensions. [`LoadBalance`] and the upstream [`Client`](upstream::Client) on their own return the error.
//! [`docs::errors`] lists every kind with its status, [`docs::headers`] every field that is touched,
//! [`docs::limits`] every limit of a connection, and [`docs::testing`] shows how to test an application with a proxy in
//! it.
//!
//! [axum]: https://docs.rs/axum
//! [metrics]: https://docs.rs/metrics
//! [ring]: https://docs.rs/ring
//! [aws-lc-rs]: https://docs.rs/aws-lc-rs

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod balance;
mod body;
#[cfg(feature = "cache")]
pub mod cache;
mod clock;
pub mod clusters;
#[cfg(feature = "config")]
pub mod config;
pub mod discover;
pub mod endpoint;
mod error;
#[cfg(any(feature = "config", feature = "file"))]
mod folder_watch;
mod forward;
mod grpc;
mod hash;
pub mod health;
mod limit;
pub mod mirror;
pub mod proxy;
mod random;
mod record;
pub mod retry;
pub mod rewrite;
#[cfg(any(feature = "config", feature = "file"))]
mod settled_file;
pub mod split;
#[cfg(feature = "status")]
pub mod status;
mod telemetry;
mod tunnel;
pub mod upstream;

/// The rustls whose types [`ClientBuilder::tls`](upstream::ClientBuilder::tls) takes.
#[cfg(feature = "_tls")]
pub use rustls;
/// The tower whose traits services, discoveries and measures of load implement.
pub use tower;

/// The pages of `docs/` that users of the crate need.
#[cfg(any(doc, doctest))]
pub mod docs {
    #[cfg(feature = "cache")]
    #[doc = include_str!("../docs/CACHE.md")]
    pub mod cache {}
    #[cfg(feature = "config")]
    #[doc = include_str!("../docs/CONFIG.md")]
    pub mod config {}
    #[doc = include_str!("../docs/DISCOVERY.md")]
    pub mod discovery {}
    #[doc = include_str!("../docs/ERRORS.md")]
    pub mod errors {}
    #[doc = include_str!("../docs/FORWARD_PROXY.md")]
    pub mod forward_proxy {}
    #[doc = include_str!("../docs/HEADERS.md")]
    pub mod headers {}
    #[doc = include_str!("../docs/LIMITS.md")]
    pub mod limits {}
    #[doc = include_str!("../docs/OBSERVABILITY.md")]
    pub mod observability {}
    #[doc = include_str!("../docs/RESILIENCE.md")]
    pub mod resilience {}
    #[doc = include_str!("../docs/TESTING.md")]
    pub mod testing {}
}

/// Compiles the code of the README along with that of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "adaptive-limit")]
pub use self::limit::AdaptiveConcurrency;
#[cfg(feature = "metrics")]
pub use self::telemetry::metrics;
pub use self::{
    balance::{LoadBalance, policy},
    body::Body,
    endpoint::EndpointSpec,
    error::{BoxError, Error, ErrorKind, Side},
    forward::RequestTimeouts,
    health::HealthCheck,
    proxy::{ForwardProxy, ProxyLayer, ReverseProxy},
    record::{Attempt, Info, Outcome, Stage},
    telemetry::access_log,
};
