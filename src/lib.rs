//! A reverse proxy and load balancer as tower middleware for [axum].
//!
//! ```text
//! downstream ─► proxy     ReverseProxy answers all, ProxyLayer what matches
//!                  ▼
//!               forward   rewrite heads · deadlines · upgrades
//!                  ▼
//!  discover ─►  balance   LoadBalance: the better of two endpoints drawn at random
//!                  ▼
//!               endpoint  one server: its weight, its load
//!                  ▼
//!               upstream  its client: connection pool, TLS, HTTP/1 and HTTP/2 ─► server
//! ```
//!
//! Each part is a tower service over the next one, so that any other layer fits around or between, and an endpoint may
//! be any `tower::Service<Request<Body>>`.
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
//!     // The client's address is for X-Forwarded-For.
//!     let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
//!     axum::serve(listener, app).await?;
//!     Ok(())
//! }
//! ```
//!
//! The other ways to mount it are in [`proxy`]; sets of servers that change, weights and endpoints of one's own in
//! [`balance`] and [`endpoint`]; what happens to heads in [`rewrite`].
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `http2` | yes | HTTP/2 to endpoints: by ALPN over TLS, by prior knowledge with `h2c://` |
//! | `tls` | yes | `https://` endpoints: `tls-ring` and `tls-native-roots` |
//! | `tls-ring` | by `tls` | TLS with the cryptography of [ring] |
//! | `tls-aws-lc` | no | TLS with the cryptography of [aws-lc-rs], also where `tls-ring` is on |
//! | `tls-native-roots` | by `tls` | servers are verified against the platform's trust roots |
//! | `tls-webpki-roots` | no | servers are verified against Mozilla's roots, built in, where the platform has none |
//!
//! HTTP/1 to endpoints needs no feature. What clients speak is up to the server around the proxy: axum's feature
//! `http2`, for one.
//!
//! # Cancel safety
//!
//! Whoever drops a response future or a response body of this crate, as hyper does when a client goes away, cancels the
//! exchange: an HTTP/1 connection to the endpoint is closed, an HTTP/2 stream reset, and the request no longer counts
//! as load. Nothing else is left behind.
//!
//! # Errors
//!
//! Settings that cannot work are refused with an [`Error`] that names them. Whatever goes wrong with a request becomes
//! a response: a status, a short body that gives nothing away, and the [`Error`] as an `Arc<Error>` in the response's
//! extensions. [`docs::errors`] has the table, [`docs::headers`] every field that is touched, and [`docs::testing`]
//! how to test an application with a proxy in it.
//!
//! [axum]: https://docs.rs/axum
//! [ring]: https://docs.rs/ring
//! [aws-lc-rs]: https://docs.rs/aws-lc-rs

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod balance;
mod body;
mod clock;
pub mod discover;
pub mod endpoint;
mod error;
mod forward;
mod limit;
pub mod proxy;
mod random;
mod record;
pub mod rewrite;
mod tunnel;
pub mod upstream;

/// The rustls that [`ClientBuilder::tls`](upstream::ClientBuilder::tls) takes its settings from.
#[cfg(feature = "_tls")]
pub use rustls;
/// The tower whose traits services, discoveries and measures of load implement.
pub use tower;

/// The pages of `docs/` that users of the crate need.
#[cfg(any(doc, doctest))]
pub mod docs {
    #[doc = include_str!("../docs/ERRORS.md")]
    pub mod errors {}
    #[doc = include_str!("../docs/HEADERS.md")]
    pub mod headers {}
    #[doc = include_str!("../docs/TESTING.md")]
    pub mod testing {}
}

/// The code of the README is compiled as that of the documentation is.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use self::{
    balance::{LoadBalance, policy},
    body::Body,
    endpoint::EndpointSpec,
    error::{BoxError, Error, ErrorKind, Side},
    forward::RequestTimeouts,
    proxy::{ProxyLayer, ReverseProxy},
    record::{Attempt, Info, Outcome, Stage},
};
