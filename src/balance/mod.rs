//! [`LoadBalance`]: a request goes to the better of two endpoints drawn at random.
//!
//! The endpoints come from a list of URLs, from a list of [`EndpointSpec`](crate::EndpointSpec)s, or from any
//! [`tower::discover::Discover`]; a [`Handle`] changes them while requests are served.
//!
//! ```
//! use axum_upstream::{EndpointSpec, LoadBalance};
//!
//! let backends = LoadBalance::new(["http://127.0.0.1:5000", "http://127.0.0.1:5001;weight=2"])?;
//! let handle = backends.handle();
//!
//! handle.insert(EndpointSpec::url("http://127.0.0.1:5002")?);
//! if let Some(draining) = handle.remove("http://127.0.0.1:5000") {
//!     // No new request goes there; `draining.finished().await` returns when the last one has ended.
//!     assert_eq!(draining.in_flight(), 0);
//! }
//! assert_eq!(handle.endpoints().len(), 2);
//! # Ok::<(), axum_upstream::Error>(())
//! ```

mod body;
mod builder;
mod cluster;
mod dispatch;
mod driver;
mod handle;
mod hash;
mod members;
pub mod policy;
mod remembered;
mod service;
mod snapshot;

pub use self::{
    body::ResponseBody,
    builder::LoadBalanceBuilder,
    dispatch::ResponseFuture,
    handle::{Draining, EndpointStatus, Handle},
    service::LoadBalance,
};
