//! Heads and trailers that are larger than the bounds of a message allow.

use std::fmt;

use http::HeaderMap;

use crate::upstream::bounds::MessageBounds;

impl MessageBounds {
    /// For HTTP/2, whose library only knows of the size, and in another measure.
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
#[derive(Debug)]
pub(super) enum TooLarge {
    Size(usize),
    Fields(usize),
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(max) => write!(f, "message head or trailers larger than {max} bytes"),
            Self::Fields(max) => write!(f, "message head or trailers of more than {max} fields"),
        }
    }
}

impl std::error::Error for TooLarge {}
