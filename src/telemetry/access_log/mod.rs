//! A log with one line per exchange: who asked for what, what came of it, and how long it took.
//!
//! [`AccessLogLayer`] goes around any HTTP service. Around a proxy it knows more: the client's address behind trusted
//! proxies, the cluster and the endpoint, the number of attempts, and why an exchange failed.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::Router;
//! use axum_upstream::{
//!     LoadBalance, ReverseProxy,
//!     access_log::{AccessLogFormat, AccessLogLayer},
//! };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), axum_upstream::BoxError> {
//! let access_log = AccessLogLayer::new(AccessLogFormat::Json)?;
//! let backends = LoadBalance::new(["http://127.0.0.1:5000"])?;
//! let app: Router = Router::new()
//!     .fallback_service(ReverseProxy::new(backends))
//!     .layer(access_log.clone());
//! // Serve the app. At the end, wait for the last lines, but not for a reader that sleeps:
//! let _ = tokio::time::timeout(Duration::from_secs(1), access_log.flush()).await;
//! # Ok(())
//! # }
//! ```
//!
//! A line is written when the response body has been dropped, which a server does after its last byte or when the
//! client has left; for a tunnel, when that has ended. [`AccessLogFormat`] describes what is in it.
//!
//! # No request waits for the log
//!
//! Lines go through a queue to a thread that formats and writes them. When the writer does not keep up, because a pipe
//! is not read or a disk is slow, the queue fills up, and further lines are dropped and counted. The next line that is
//! written says how many. They are written in batches, up to 10 ms after the end of their exchange.
//!
//! The thread ends when the last clone of the layer, and of the services that it has made, is dropped. That drop waits
//! for the lines in the queue, for one second at most.
//!
//! # What is not logged
//!
//! Queries, header fields and bodies, which may contain secrets. Fields of a query that contain none can be
//! [named](AccessLogBuilder::query_fields). Whatever a client has sent is escaped, so that it can forge no line.

mod body;
mod entry;
mod escape;
mod format;
mod layer;
mod line;
mod service;
mod settings;
mod writer;

pub use self::{
    body::AccessLogBody,
    format::AccessLogFormat,
    layer::{AccessLogBuilder, AccessLogLayer},
    service::{AccessLog, AccessLogFuture},
};
