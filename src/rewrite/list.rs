//! Fields that are lists: several lines, or several members in one.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

use crate::error::Error;

/// The members of a comma-separated list over all its lines, trimmed.
pub(crate) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().flat_map(members)
}

pub(super) fn members(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
}

/// The most members of a list of field names that a client sends, empty ones included: `Connection` and `Trailer`.
/// Longer ones are refused.
///
/// Messages in use name fewer than ten. A name of one letter takes two bytes of the list and some eighty in memory
/// where a library keeps it as a name, as hyper does with those of `Trailer`.
pub(super) const MAX_NAMES: usize = 64;

/// The most names in the `Trailer` of a response: as many as its trailer section may have by default.
pub(super) const MAX_RESPONSE_TRAILERS: usize = 1000;

/// # Errors
///
/// 400 when the list has more than `max` members. RFC 9110 5.6.1.2: "A recipient MUST parse and ignore a
/// reasonable number of empty list elements: enough to handle common mistakes by senders that merge values, but not so
/// much that they could be used as a denial-of-service mechanism."
pub(super) fn check_names(
    headers: &HeaderMap,
    name: &HeaderName,
    max: usize,
    too_many: &'static str,
) -> Result<(), Error> {
    match tokens(headers, name).nth(max) {
        Some(_) => Err(Error::bad_request(too_many)),
        None => Ok(()),
    }
}

/// Adds a member to a list field, folding all its lines into one, so that no reader sees only the first.
pub(super) fn append(headers: &mut HeaderMap, name: HeaderName, member: &HeaderValue) {
    let mut lines = match headers.entry(name) {
        Entry::Vacant(none) => {
            none.insert(member.clone());
            return;
        }
        Entry::Occupied(lines) => lines,
    };
    let said = || {
        let said = lines.iter().map(HeaderValue::as_bytes);
        let said = said.filter(|line| !line.trim_ascii().is_empty());
        said.chain([member.as_bytes()])
    };
    let all = join(said, b", ");
    // Made of values that were valid, so it is valid.
    if let Ok(value) = HeaderValue::try_from(all) {
        lines.insert(value);
    }
}

/// RFC 9113 8.2.3: cookie crumbs "MUST be concatenated into a single octet string using the two-octet delimiter of
/// 0x3b, 0x20" before they are passed into a non-HTTP/2 context.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let lines = || headers.get_all(header::COOKIE).into_iter();
    if lines().nth(1).is_some() {
        let joined = join(|| lines().map(HeaderValue::as_bytes), b"; ");
        // Made of values that were valid, so it is valid.
        if let Ok(joined) = HeaderValue::try_from(joined) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

/// All parts with the delimiter between them, in one allocation.
fn join<'a, I>(parts: impl Fn() -> I, delimiter: &[u8]) -> Vec<u8>
where
    I: Iterator<Item = &'a [u8]>,
{
    let length = parts().map(|part| part.len() + delimiter.len()).sum();
    let mut all = Vec::with_capacity(length);
    for (nth, part) in parts().enumerate() {
        if nth > 0 {
            all.extend_from_slice(delimiter);
        }
        all.extend_from_slice(part);
    }
    all
}
