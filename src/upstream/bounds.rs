//! How large a message from an endpoint may be, the same for both versions. `docs/LIMITS.md` has every limit.

/// Bounds of a response's head, and of its trailers by themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageBounds {
    /// Bytes, as HTTP/1 writes them.
    pub(super) size: usize,
    pub(super) fields: usize,
}

impl Default for MessageBounds {
    fn default() -> Self {
        Self {
            // What applications send on purpose, cookies, `Link` and a content security policy, several times over.
            size: 256 * 1024,
            // hyper keeps room for 100 fields on the stack. For more it allocates, for each HTTP/1 response, as much as
            // the limit needs.
            fields: 256,
        }
    }
}
