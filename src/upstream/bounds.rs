//! How large a message from an endpoint may be, the same for both versions. `docs/LIMITS.md` has every limit.

use std::fmt;

use http::HeaderMap;

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

impl MessageBounds {
    /// For HTTP/2, whose library only knows of the size, and in another measure.
    #[cfg(feature = "http2")]
    pub(super) fn check(&self, fields: &HeaderMap) -> Result<(), TooLarge> {
        if fields.len() > self.fields {
            return Err(TooLarge::Fields(self.fields));
        }
        // "name: value\r\n"
        let size = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            name.as_str().len() + value.len() + 4
        };
        if fields.iter().map(size).sum::<usize>() > self.size {
            return Err(TooLarge::Size(self.size));
        }
        Ok(())
    }
}

/// The bound that the fields of a head or of trailers are over.
#[cfg(feature = "http2")]
#[derive(Debug)]
pub(super) enum TooLarge {
    Size(usize),
    Fields(usize),
}

#[cfg(feature = "http2")]
impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(max) => write!(f, "message head or trailers larger than {max} bytes"),
            Self::Fields(max) => write!(f, "message head or trailers of more than {max} fields"),
        }
    }
}

#[cfg(feature = "http2")]
impl std::error::Error for TooLarge {}
