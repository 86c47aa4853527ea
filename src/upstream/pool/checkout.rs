//! What a request demands of a pool, what it receives, and the pool's limits.

use std::time::Duration;

use tokio::{runtime, time::Instant};

#[cfg(feature = "http2")]
use crate::upstream::http2::{self, Stream};
use crate::{
    record::ClientConnection,
    upstream::{bounds::MessageBounds, connect::Versions, http1::Http1},
};

/// The limits of a pool. `ClientBuilder` has a method and a default for each.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) struct Limits {
    /// Longest time to obtain a connection: waiting for one, name lookup, TLS and HTTP handshake included.
    pub(in crate::upstream) connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub(in crate::upstream) idle_timeout: Duration,
    /// How many unused HTTP/1 connections are kept per runtime.
    pub(in crate::upstream) max_idle: usize,
    /// How many connections may be open, on all runtimes together. `None` means no limit.
    pub(in crate::upstream) max_open: Option<usize>,
    /// How long a connection takes requests. `None` means no limit.
    pub(in crate::upstream) max_lifetime: Option<Duration>,
    /// Limits of a response's head and trailers, for both versions.
    pub(in crate::upstream) bounds: MessageBounds,
    /// Windows and pings.
    #[cfg(feature = "http2")]
    pub(in crate::upstream) http2: http2::Settings,
}

/// A connection to send one request on.
///
/// `reused` is set if another request may have been sent on it before. A failure is then likely to mean that the server
/// closed an idle connection, which `resend.rs` needs to know.
///
/// Dropping it unused closes an HTTP/1 connection, and gives up the place on an HTTP/2 connection.
pub(in crate::upstream) enum Checkout {
    /// A connection that this request alone uses.
    Http1 { http1: Http1, reused: bool },
    /// A place on a shared connection.
    #[cfg(feature = "http2")]
    Http2 { stream: Stream, reused: bool },
}

impl Checkout {
    /// Returns whether the connection was opened by another request, which may have used it.
    pub(in crate::upstream) fn is_reused(&self) -> bool {
        match self {
            Self::Http1 { reused, .. } => *reused,
            #[cfg(feature = "http2")]
            Self::Http2 { reused, .. } => *reused,
        }
    }
}

/// What a request demands of a connection.
#[derive(Clone, Copy)]
pub(super) struct Demand {
    /// The runtime of the request: only connections made there are of use.
    pub(super) runtime: runtime::Id,
    /// The versions of HTTP that the request can be sent over.
    pub(super) versions: Versions,
    /// The client's connection, if it is known: there may be a connection that belongs to it alone.
    pub(super) client: Option<ClientConnection>,
    /// The connection must have been opened after this time, if set.
    ///
    /// An HTTP/2 connection that another request has opened since will do: many requests that fail on one connection at
    /// the same time open one new connection, not many.
    pub(super) since: Option<Instant>,
}
