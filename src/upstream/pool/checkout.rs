//! What goes in and out of a pool.

use std::time::Duration;

use tokio::{runtime, time::Instant};

#[cfg(feature = "http2")]
use crate::upstream::http2::{self, Stream};
use crate::{
    record::ClientConnection,
    upstream::{bounds::MessageBounds, connect::Versions, http1::Http1},
};

/// Bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) struct Limits {
    pub(in crate::upstream) connect_timeout: Duration,
    pub(in crate::upstream) idle_timeout: Duration,
    pub(in crate::upstream) max_idle: usize,
    pub(in crate::upstream) max_open: Option<usize>,
    pub(in crate::upstream) max_lifetime: Option<Duration>,
    pub(in crate::upstream) bounds: MessageBounds,
    #[cfg(feature = "http2")]
    pub(in crate::upstream) http2: http2::Settings,
}

/// A connection to send one request on; `reused` when another request was sent on it before.
pub(in crate::upstream) enum Checkout {
    Http1 {
        http1: Http1,
        reused: bool,
    },
    #[cfg(feature = "http2")]
    Http2 {
        stream: Stream,
        reused: bool,
    },
}

impl Checkout {
    pub(in crate::upstream) fn is_http2(&self) -> bool {
        !matches!(self, Self::Http1 { .. })
    }

    pub(in crate::upstream) fn is_reused(&self) -> bool {
        match self {
            Self::Http1 { reused, .. } => *reused,
            #[cfg(feature = "http2")]
            Self::Http2 { reused, .. } => *reused,
        }
    }
}

/// What a request wants of a connection.
#[derive(Clone, Copy)]
pub(super) struct Demand {
    pub(super) runtime: runtime::Id,
    pub(super) versions: Versions,
    /// The client's connection, if it is known: it may have one of its own.
    pub(super) client: Option<ClientConnection>,
    /// Nothing that was opened before. An HTTP/2 connection is shared by those that want a new one at the same time.
    pub(super) since: Option<Instant>,
}
