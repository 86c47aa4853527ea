//! What a head or trailers measure. hyper does so for HTTP/1.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::upstream::bounds::MessageBounds;

/// The bound that the fields of a head or of trailers are over.
#[derive(Debug)]
pub(in crate::upstream) enum TooLarge {
    Size(usize),
    Fields(usize),
}

/// # Errors
///
/// The bound that these fields are over.
pub(super) fn check(fields: &HeaderMap, bounds: MessageBounds) -> Result<(), TooLarge> {
    if fields.len() > bounds.fields {
        return Err(TooLarge::Fields(bounds.fields));
    }
    if fields.iter().map(line).sum::<usize>() > bounds.size {
        return Err(TooLarge::Size(bounds.size));
    }
    Ok(())
}

/// The length of `name: value` and a line end.
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
