//! Fields that are lists: several lines, or several members in one.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

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

/// Adds a member to a list field, folding all its lines into one, so that no reader sees only the first.
pub(super) fn append(headers: &mut HeaderMap, name: HeaderName, member: &HeaderValue) {
    let mut lines = match headers.entry(name) {
        Entry::Vacant(none) => {
            none.insert(member.clone());
            return;
        }
        Entry::Occupied(lines) => lines,
    };
    let mut all = Vec::new();
    let said = lines.iter().map(HeaderValue::as_bytes);
    for line in said.filter(|line| !line.trim_ascii().is_empty()) {
        all.extend_from_slice(line);
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(member.as_bytes());
    // Made of values that were valid, so it is valid.
    if let Ok(value) = HeaderValue::try_from(all) {
        lines.insert(value);
    }
}

/// RFC 9113 8.2.3: cookie crumbs "MUST be concatenated into a single octet string using the two-octet delimiter of
/// 0x3b, 0x20" before they are passed into a non-HTTP/2 context.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).into_iter();
    if let (Some(_), Some(_)) = (lines.next(), lines.next()) {
        let crumbs: Vec<&[u8]> = headers
            .get_all(header::COOKIE)
            .into_iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            headers.insert(header::COOKIE, joined);
        }
    }
}
