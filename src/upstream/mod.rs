//! Connections to one server: [`Client`], a tower service with a pool of its own.
//!
//! An HTTP/1 connection is driven by the task of the request that uses it; an HTTP/2 connection has a task and is
//! shared. Errors say whether the request was sent: see [`SendError::take_request`]. Every limit of messages and
//! connections is in [`docs::limits`](crate::docs::limits).
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

mod body;
mod bounds;
mod builder;
mod client;
mod connect;
mod error;
mod http1;
#[cfg(feature = "http2")]
mod http2;
mod lease;
mod pool;
mod resend;
mod target;

/// What a stream implements that a connector makes, and the wrapper by which a stream of tokio's does.
pub use hyper::rt::{Read, Write};
pub use hyper_util::rt::TokioIo;

pub(crate) use self::target::canonical_url;
pub use self::{
    body::ClientBody,
    builder::ClientBuilder,
    client::{Client, ClientFuture},
    error::SendError,
};
