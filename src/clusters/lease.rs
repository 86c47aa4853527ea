//! How many requests are in flight at a cluster.

use std::sync::Arc;

use http::HeaderMap;
use tokio::sync::watch;
use tracing::span::EnteredSpan;

use crate::body::Guard;

/// Counts the requests at one cluster. Each of them has a receiver, whose drop ends its count.
#[derive(Clone, Debug, Default)]
pub(super) struct ClusterCount(Arc<watch::Sender<()>>);

/// A request at a cluster, from its arrival to the last byte of the response.
#[derive(Debug)]
pub(super) struct ClusterLease(
    #[expect(dead_code, reason = "counts while it exists")] watch::Receiver<()>,
);

impl ClusterCount {
    /// Counts a request.
    pub(super) fn lease(&self) -> ClusterLease {
        ClusterLease(self.0.subscribe())
    }

    /// Returns the number of requests.
    pub(super) fn in_flight(&self) -> usize {
        self.0.receiver_count()
    }

    /// Completes when there is no request.
    pub(super) async fn idle(&self) {
        self.0.closed().await;
    }
}

/// However the body ends, the drop of the lease is all that counts.
impl<E> Guard<E> for Option<ClusterLease> {
    fn enter(&self) -> Option<EnteredSpan> {
        None
    }

    fn complete(self) {}

    fn data(&mut self, _: usize) {}

    fn trailers(&mut self, _: &HeaderMap) {}

    fn failed(self, _: &E) {}
}
