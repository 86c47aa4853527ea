//! What a connection receives for its life, and where it returns to after an exchange.
//!
//! Both are between the pool, which opens connections, and `http1/` and `http2/`, which are the connections, so that
//! the latter need not import the pool.

use tokio::{runtime, time::Instant};

use super::connection_counts::CountedConnection;
use crate::limit::Permit;

/// What a new connection receives for its life.
pub(super) struct Lease {
    /// The runtime whose I/O driver watches its socket.
    pub(super) runtime: runtime::Id,
    /// When it takes no more requests: `max_lifetime`, less up to a tenth of it. `None` means never. An exchange in
    /// progress then is not cut short.
    pub(super) expires: Option<Instant>,
    /// Its place among the open connections, held until its socket is closed. `None` if their number is not limited.
    pub(super) permit: Option<Permit>,
    /// Counts it as open for as long as its socket is.
    pub(super) open: CountedConnection,
}

/// Where a connection returns to when its exchange is over.
pub(super) trait Home<C>: Send + Sync {
    /// Takes a connection back, and keeps or closes it. Called by whatever task reads the end of the response body.
    fn take_back(&self, connection: C);
}
