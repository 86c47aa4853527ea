//! How a tunnel ends, and what there is to say about it then.

use std::time::Duration;

/// Why a tunnel has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunnelEnd {
    /// Both sides have closed their halves.
    Closed,
    /// A connection failed.
    Broken,
    /// One of the connections was never handed over: the client left before it had the response head.
    NotOpened,
    /// No bytes arrived for the idle timeout, or the tunnel was not opened in that time.
    IdleTimeout,
    /// The total timeout has passed.
    TotalTimeout,
    /// More bytes arrived than the tunnel may carry.
    ByteLimit,
    /// The proxy closes its tunnels.
    ClosedByProxy,
    /// The endpoint was drained, and its deadline has passed.
    Drained,
}

impl TunnelEnd {
    /// Returns the words for a log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::NotOpened => "not opened",
            Self::IdleTimeout => "idle timeout",
            Self::TotalTimeout => "total timeout",
            Self::ByteLimit => "byte limit",
            Self::ClosedByProxy => "closed by the proxy",
            Self::Drained => "endpoint drained",
        }
    }
}

/// What a tunnel has carried, and how it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TunnelReport {
    pub(crate) end: TunnelEnd,
    /// Bytes that were read from the client.
    pub(crate) up: u64,
    /// Bytes that were read from the other side.
    pub(crate) down: u64,
    /// From the agreement to the end.
    pub(crate) duration: Duration,
}
