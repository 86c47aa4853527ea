//! Connections to one server: [`Client`], a tower service with a connection pool of its own.
//!
//! A [`Client`] is what a balancer, or `ReverseProxy::to`, sends requests with. It can be used alone, too: it takes a
//! request in origin form, and returns the response or a [`SendError`].
//!
//! ```no_run
//! use axum_upstream::{Body, upstream::Client};
//! use tower::ServiceExt;
//!
//! # async fn run() -> Result<(), axum_upstream::BoxError> {
//! let client = Client::builder().connect_timeout(std::time::Duration::from_secs(1)).build("http://127.0.0.1:5000")?;
//! let response = client.oneshot(http::Request::get("/health").body(Body::empty())?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What drives a connection
//!
//! - **HTTP/1**: the task of the request that uses it, first in the response future, then in the response body. The
//!   connection returns to the pool when the body has ended. There is no task per connection, and so no hop to another
//!   thread. One exception gets a task: a response, or a switch of protocols, that comes before the request has been
//!   sent.
//! - **HTTP/2**: tasks on the runtime where it was opened. Requests share it.
//! - **Idle**: one task per pool and runtime, which closes connections that the server has closed or that have idled
//!   for too long.
//!
//! A request uses only connections that were opened on its own runtime. Futures and bodies may move among the tasks and
//! threads of that runtime.
//!
//! # What is sent again
//!
//! A request is sent again on another connection if the first one fails and it is safe: not a byte of it was sent; or
//! the server says that it has not processed it, and there is no body; or the connection had been idle, the method is
//! idempotent, and there is no body. Anything further is for the balancer to decide. An error says whether the request
//! was sent: see [`SendError::take_request`].
//!
//! # What is not here
//!
//! A client has one deadline, that for connecting. It does not follow redirects, keep cookies, decompress, or cache; it
//! sends what it is given, and adds only what belongs to the connection. Every limit of messages and connections is in
//! [`docs::limits`](crate::docs::limits).

mod body;
mod bounds;
mod build;
mod builder;
mod client;
mod client_attempt;
mod client_future;
mod connect;
mod connection_counts;
mod dialer;
mod error;
mod http1;
#[cfg(feature = "http2")]
mod http2;
mod lease;
mod pool;
mod redacted;
mod resend;
mod sending;
mod target;

/// The traits of the streams that a user's connector makes, and the wrapper that implements them for streams of
/// tokio's.
pub use hyper::rt::{Read, Write};
pub use hyper_util::rt::TokioIo;

#[cfg(all(feature = "_tls", any(feature = "config", feature = "kubernetes")))]
pub(crate) use self::connect::tls_config;
pub use self::{
    body::ClientBody, builder::ClientBuilder, client::Client, connect::ProxyProtocol,
    error::SendError, http1::on_interim_response,
};
pub(crate) use self::{dialer::Dialer, redacted::redacted, target::canonical_url};
pub use crate::tunnel::{Upgrade, Upgraded, upgrade};
