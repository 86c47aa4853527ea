//! What a connection is wanted for, and what it became.

use super::io::Io;

/// The versions of HTTP that may be spoken on a new connection. They decide what ALPN offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Versions {
    /// HTTP/1.1 and, where this build supports it, HTTP/2.
    All,
    /// HTTP/1.1 alone: for an upgrade, or after HTTP_1_1_REQUIRED.
    Http1,
}

/// A connected stream, on which no HTTP has been spoken yet.
pub(in crate::upstream) struct Connected {
    /// The stream, encrypted where the scheme is `https`.
    pub(in crate::upstream) io: Io,
    /// Whether to speak HTTP/2 on it: ALPN has chosen it, or the scheme says that the server does.
    #[cfg_attr(not(feature = "http2"), expect(dead_code))]
    pub(in crate::upstream) http2: bool,
}
