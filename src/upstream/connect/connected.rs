//! What a connection is wanted for, and what it became.

use super::io::Io;

/// The versions of HTTP that may be spoken on a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Versions {
    All,
    /// HTTP/1.1 alone, for an upgrade.
    Http1,
}

/// A stream, and whether to speak HTTP/2 on it.
pub(in crate::upstream) struct Connected {
    pub(in crate::upstream) io: Io,
    #[cfg_attr(not(feature = "http2"), expect(dead_code))]
    pub(in crate::upstream) http2: bool,
}
