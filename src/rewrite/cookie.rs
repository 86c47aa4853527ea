//! Reading a cookie of a request.
//!
//! Only what choices by a cookie need: the value of one cookie, without decoding. A `Cookie` field is no list in the
//! sense of RFC 9110 5.6.1. Its pairs are separated by `;`, and HTTP/2 and HTTP/3 may split it into several lines (RFC
//! 9113 8.2.3, RFC 9114 4.2.1). Quotes around a value are kept.

use http::{HeaderMap, header};

/// Returns the value of the cookie named `name`, as RFC 6265 4.2.1 delimits it.
///
/// If there are several of the name, the first counts: user agents send the one with the longest path first (RFC 6265
/// 5.4). Names are case-sensitive.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let values = pairs.filter_map(|pair| {
        pair.trim_ascii()
            .strip_prefix(name.as_bytes())?
            .strip_prefix(b"=")
    });
    values.into_iter().next()
}
