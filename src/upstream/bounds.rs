//! How large a message from an endpoint may be, the same for both versions.
//!
//! hyper enforces it over HTTP/1 (`http1/connection.rs`), `http2/size.rs` over HTTP/2. Bodies have no limit. The page
//! `docs/LIMITS.md` has every limit.

/// Limits of a response's head, and of its trailers by themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageBounds {
    /// Bytes, as HTTP/1 writes them: `name: value` and a line end for each field, and over HTTP/1 the status line.
    pub(super) size: usize,
    /// Fields. One with several lines counts once per line.
    pub(super) fields: usize,
}

impl Default for MessageBounds {
    fn default() -> Self {
        Self {
            // Cookies, `Link` and a content security policy, which applications send on purpose, several times over.
            size: 256 * 1024,
            // hyper keeps room for 100 fields on the stack. For more it allocates, for each HTTP/1 response, as much as
            // the limit needs.
            fields: 256,
        }
    }
}
