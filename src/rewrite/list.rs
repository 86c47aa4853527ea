//! Fields whose values are comma-separated lists, over one line or several (RFC 9110 5.6.1).
//!
//! RFC 9110 5.3 makes several lines of such a field equivalent to one line with a comma between them. Every reader here
//! goes over all lines: a proxy that reads only the first `Connection` line is open to CVE-2021-33197.
//!
//! Quoted strings and comments are not parsed: a comma within one splits its member in two. For the fields that are
//! read through this module this is harmless.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

use crate::error::Error;

/// Returns the members of a list over all its lines, without surrounding white space. Members may be empty.
pub(crate) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().flat_map(members)
}

/// Returns the members of one line.
pub(crate) fn members(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
}

/// The most members that `Connection` or `Trailer` may have in a request, and `Connection` in a response, empty ones
/// included. A message with more is refused.
///
/// Messages in use name fewer than ten. A name of one letter occupies two bytes of the list and about eighty in memory
/// where a library stores it as a name, as hyper does with those of `Trailer`.
pub(super) const MAX_NAMES: usize = 64;

/// The most names that `Trailer` may have in a response. Its trailer section may have 256 fields by default.
pub(super) const MAX_RESPONSE_TRAILERS: usize = 1000;

/// Checks that a list has no more than `max` members.
///
/// # Errors
///
/// Returns a 400 with the detail `too_many`. RFC 9110 5.6.1.2: "A recipient MUST parse and ignore a reasonable number
/// of empty list elements: enough to handle common mistakes by senders that merge values, but not so much that they
/// could be used as a denial-of-service mechanism."
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

/// Appends a member to a list field, and joins all its lines into one, so that an endpoint that reads only the first
/// line still sees all members.
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
    // Joined from valid values with valid delimiters, so it is valid.
    if let Ok(value) = HeaderValue::try_from(all) {
        lines.insert(value);
    }
}

/// Joins all `Cookie` lines into one.
///
/// HTTP/2 clients may split the field for better compression. RFC 9113 8.2.3: cookie crumbs "MUST be concatenated into
/// a single octet string using the two-octet delimiter of 0x3b, 0x20" before they are passed into a non-HTTP/2 context.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let lines = || headers.get_all(header::COOKIE).into_iter();
    if lines().nth(1).is_some() {
        let joined = join(|| lines().map(HeaderValue::as_bytes), b"; ");
        // Joined from valid values with a valid delimiter, so it is valid.
        if let Ok(joined) = HeaderValue::try_from(joined) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

/// Joins parts with a delimiter between them, in one allocation. `parts` is called twice: for the length, and for the
/// bytes.
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
