//! How large a message from an endpoint may be, the same for both versions. `docs/LIMITS.md` has every limit.

/// Bounds of a response's head, and of its trailers by themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageBounds {
    /// Bytes, as HTTP/1 would write them.
    pub(super) size: usize,
    pub(super) fields: usize,
}

impl Default for MessageBounds {
    fn default() -> Self {
        Self {
            // What nginx and HAProxy take is a fraction of it, but then both have it raised for cookies, CSP and
            // `Link`.
            size: 256 * 1024,
            fields: 1000,
        }
    }
}
