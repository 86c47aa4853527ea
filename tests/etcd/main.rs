//! Discovery by etcd, against processes of etcd where they are installed, and against a server that breaks the protocol.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary exports nothing, so the lint would have every `pub` be `pub(crate)`.
#![allow(unreachable_pub)]

mod faults;
mod keys;
mod messages;
mod secured;
mod server;
#[path = "../support/discovery.rs"]
mod support;

use axum_upstream::{LoadBalance, discover::Etcd};

use self::server::EtcdCluster;

/// A prefix, at all members.
fn prefix(etcd: &EtcdCluster, members: usize) -> Etcd {
    let first = Etcd::prefix(&format!("{}/services/api/", etcd.url(0))).unwrap();
    (1..members).fold(first, |prefix, nth| prefix.member(&etcd.url(nth)).unwrap())
}

/// A cluster that follows a source.
fn follow(source: Etcd) -> LoadBalance {
    LoadBalance::builder().seed(1).discover(source).unwrap()
}
