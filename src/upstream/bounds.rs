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
            // hyper's HTTP/1 takes 100 at no cost, and for more has to allocate room for all of them, in each response.
            fields: 256,
        }
    }
}
