//! How large a message from an endpoint may be, the same for both versions.
//!
//! `http1/response_head.rs` and `http1/chunked.rs` enforce it over HTTP/1, `http2/size.rs` over HTTP/2. Bodies have no
//! limit. The page `docs/LIMITS.md` has every limit.

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
            // As many as there is room for on the stack.
            fields: 256,
        }
    }
}
