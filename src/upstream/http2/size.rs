//! Measures response heads and trailers over HTTP/2.
//!
//! `http1/response_head.rs` enforces the same limits over HTTP/1. Over HTTP/2, h2 would end the connection or cut off
//! trailers in silence, so its own limit is set far higher, and what arrives is checked here: only the exchange fails.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::upstream::bounds::MessageBounds;

/// The limit that the fields of a head or of trailers exceed.
#[derive(Debug)]
pub(in crate::upstream) enum TooLarge {
    /// The size, in bytes as HTTP/1 writes the fields.
    Size(usize),
    /// The number of fields.
    Fields(usize),
}

/// Checks the fields of a head or of trailers against the limits. A field with several values counts once per value.
///
/// The size is that of the fields as HTTP/1 writes them, so that a limit means the same for both versions.
/// Pseudo-fields are not counted.
///
/// # Errors
///
/// The limit that the fields exceed, the number of fields first.
pub(super) fn check(fields: &HeaderMap, bounds: MessageBounds) -> Result<(), TooLarge> {
    if fields.len() > bounds.fields {
        return Err(TooLarge::Fields(bounds.fields));
    }
    if fields.iter().map(line).sum::<usize>() > bounds.size {
        return Err(TooLarge::Size(bounds.size));
    }
    Ok(())
}

/// Returns the length of `name: value` and a line end, in bytes.
fn line((name, value): (&HeaderName, &HeaderValue)) -> usize {
    name.as_str().len() + value.len() + 4
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_are_exact() {
        let fields: HeaderMap = [("a", "12"), ("bc", "")]
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .into_iter()
            .collect();
        // "a: 12\r\n" and "bc: \r\n"
        let check = |size, number| {
            check(
                &fields,
                MessageBounds {
                    size,
                    fields: number,
                },
            )
        };
        assert!(check(13, 2).is_ok());
        assert!(matches!(check(12, 2), Err(TooLarge::Size(12))));
        assert!(matches!(check(13, 1), Err(TooLarge::Fields(1))));
    }
}
