//! What a connection is given for its life, and how it goes home.

use tokio::{runtime, time::Instant};

use crate::limit::Permit;

/// What a new connection is given for its life.
pub(super) struct Lease {
    /// The runtime whose driver watches its socket.
    pub(super) runtime: runtime::Id,
    /// When it takes no more requests.
    pub(super) expires: Option<Instant>,
    /// Its place among the open connections, held until its socket closes.
    pub(super) permit: Option<Permit>,
}

/// Where a connection goes when its exchange is over.
pub(super) trait Home<C>: Send + Sync {
    fn take_back(&self, connection: C);
}
