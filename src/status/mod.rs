//! The status of clusters, as data and as a page: what HAProxy's stats page and Envoy's admin interface are, to mount
//! in an application behind whatever authentication it has.
//!
//! [`LoadBalance::status`](crate::LoadBalance::status) returns a [`ClusterReport`], which can be serialized.
//! [`status_router`] makes an axum `Router` of clusters:
//!
//! | route | |
//! |---|---|
//! | `GET /` | a page for people, which follows the events |
//! | `GET /status.json` | the [reports](ClusterReport) of all clusters |
//! | `GET /events` | the same as server-sent events, one a second |
//! | `GET /explain?path=/x&method=GET&header=Name:value&cluster=default` | where such a request would go now, and why |
//! | `POST /endpoints/{cluster}/{endpoint}/drain` | with [`StatusRouter::actions`] only, as the next two |
//! | `POST /endpoints/{cluster}/{endpoint}/restore` | |
//! | `POST /endpoints/{cluster}/{endpoint}/weight` | with the body `{"weight": 3}` |
//!
//! It shows the addresses of endpoints and what they have answered, so it must not be open to everyone.
//!
//! ```
//! use axum::{Router, routing::get};
//! use axum_upstream::{LoadBalance, ReverseProxy, status::status_router};
//!
//! let backends = LoadBalance::new(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
//! // With a slash at its end, so that the page finds what it fetches beside it.
//! let app: Router = Router::new()
//!     .nest_service("/admin/", status_router(&backends))
//!     .fallback_service(ReverseProxy::new(backends));
//! # Ok::<(), axum_upstream::Error>(())
//! ```

// `source` is a cluster of whatever endpoints; `router` has the routes, `actions` those that change something, `feed`
// what is sent each second, `page` the page.

mod actions;
mod feed;
mod page;
mod query;
mod router;
mod source;

#[cfg(feature = "config")]
pub(crate) use self::source::ChangingSource;
pub use self::{
    router::{StatusRouter, status_router},
    source::StatusSource,
};
pub use crate::{
    record::{Candidate, EndpointState, Explanation},
    telemetry::{
        ClusterReport, DiscoveryReport, EndpointReport, LastError, PoolReport, StatusCounts,
        TimelineEvent, TimelineKind,
    },
};
