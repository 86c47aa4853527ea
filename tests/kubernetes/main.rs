//! Discovery by Kubernetes, against a server that speaks the protocol of lists and watches.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary exports nothing, so the lint would have every `pub` be `pub(crate)`.
#![allow(unreachable_pub)]

mod credentials;
mod faults;
mod pods;
mod server;
#[path = "../support/discovery.rs"]
mod support;

use axum_upstream::{LoadBalance, discover::Kubernetes};

use self::server::ApiServer;

/// The Service of the tests, at a server.
fn service(api: &ApiServer) -> Kubernetes {
    let service = Kubernetes::service("default", "api").unwrap();
    service.api_server(&api.url()).unwrap()
}

/// A cluster that follows a source.
fn follow(source: Kubernetes) -> LoadBalance {
    LoadBalance::builder().seed(1).discover(source).unwrap()
}
