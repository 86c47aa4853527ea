//! Clusters that come and go, and which of them gets a request.
//!
//! [`Clusters`] is a map of named services, each of which is usually a [`LoadBalance`](crate::LoadBalance).
//! [`Clusters::select`] makes a service of it, [`Select`], for which a closure names the cluster of each request: that
//! of a tenant, of a host, of whatever the head or its extensions say.
//!
//! ```
//! use axum_upstream::{LoadBalance, ReverseProxy, clusters::Clusters};
//!
//! let clusters = Clusters::new();
//! clusters.insert("blue", LoadBalance::new(["http://127.0.0.1:5000"])?);
//! let by_tenant = clusters.select(|head| {
//!     let tenant = head.headers.get("x-tenant")?.to_str().ok()?;
//!     Some(tenant.into())
//! });
//! let proxy = ReverseProxy::new(by_tenant);
//!
//! // While it serves requests: one more tenant, and one less.
//! clusters.insert("green", LoadBalance::new(["http://127.0.0.1:6000"])?);
//! let removed = clusters.remove("blue");
//! # async fn drained(removed: Option<axum_upstream::clusters::RemovedCluster>) {
//! if let Some(removed) = removed {
//!     removed.finished().await;
//! }
//! # }
//! # Ok::<(), axum_upstream::Error>(())
//! ```
//!
//! # Requests without a cluster
//!
//! A request for which the closure returns `None`, or a name that is not in the map, fails with
//! [`ErrorKind::NoCluster`](crate::ErrorKind::NoCluster), which a [`ReverseProxy`](crate::ReverseProxy) answers with a
//! 404. [`on_error`](crate::ReverseProxy::on_error) makes another answer of it:
//!
//! ```
//! # use axum_upstream::{LoadBalance, ReverseProxy, clusters::Clusters};
//! use axum_upstream::ErrorKind;
//! use http::StatusCode;
//!
//! # let clusters = Clusters::<LoadBalance<axum_upstream::upstream::Client>>::new();
//! let proxy = ReverseProxy::new(clusters.select(|_| None)).on_error(|error, mut response| {
//!     if error.kind() == ErrorKind::NoCluster {
//!         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//!     }
//!     response
//! });
//! ```
//!
//! With a [`ProxyLayer`](crate::ProxyLayer), [`matching`](crate::ProxyLayer::matching) can ask
//! [`contains`](Clusters::contains), and leave such requests to the inner service.
//!
//! # What clients can do to the map
//!
//! Nothing: a request never adds a name. A closure that inserts clusters by itself, for names that requests bring, has
//! to know which names are good, or clients fill the memory.

mod future;
mod lease;
mod map;
mod service;
#[cfg(test)]
mod tests;

pub use self::{
    future::{SelectBody, SelectFuture},
    map::{Clusters, RemovedCluster},
    service::Select,
};
