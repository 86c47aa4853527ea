//! Removes the fields that belong to one connection and must not cross the proxy (RFC 9110 7.6.1).
//!
//! Two sets of names are removed: a fixed list, and what the message's own `Connection` field names, with exceptions
//! that no sender may have removed. Both are removed in both directions, before the proxy adds any field that a client
//! could name, and before any hook of the user.
//!
//! The fields whose meaning does cross (`TE: trailers`, an allowed `Upgrade`) are read before, and put back afterwards
//! by other modules.

use http::{HeaderMap, HeaderName, header};

use super::{
    fields::{self, Fields, Seen, is_hop_by_hop, is_never_nominated},
    list::{MAX_NAMES, check_names, tokens},
    trailers::TrailerRule,
};
use crate::error::Error;

/// Removes the fixed list, and every field that any `Connection` line names, except for those in `keep`.
///
/// RFC 9110 7.6.1: "Intermediaries MUST parse a received Connection header field before a message is forwarded and, for
/// each connection-option in this field, remove any header or trailer field(s) from the message with the same name as
/// the connection-option, and then remove the Connection header field itself". All lines count, also after an empty one
/// (CVE-2021-33197). A malformed token names no field.
///
/// Returns the rule for the message's trailers, from which the same names have to be removed.
///
/// # Errors
///
/// Returns a 400 if `Connection` has more than [`MAX_NAMES`] members.
pub(super) fn strip(
    headers: &mut HeaderMap,
    seen: Seen,
    keep: &[HeaderName],
) -> Result<TrailerRule, Error> {
    // One string with a comma after each name, and not a list of strings, because a client may send many names.
    let mut nominated = String::new();
    if seen.any(Fields::CONNECTION) {
        check_names(
            headers,
            &header::CONNECTION,
            MAX_NAMES,
            "too many Connection options",
        )?;
        for option in tokens(headers, &header::CONNECTION) {
            nominate(&mut nominated, option, keep);
        }
        headers.remove(header::CONNECTION);
        for name in nominated.split_terminator(',') {
            headers.remove(name);
        }
    }
    if seen.any(Fields::HOP_BY_HOP) {
        fields::remove(headers, |name| is_hop_by_hop(name.as_str()));
    }
    Ok(TrailerRule::new(nominated.into()))
}

/// Adds an option to the nominated names, in lower case, if it names a field that it may remove and that is not removed
/// anyway.
fn nominate(nominated: &mut String, option: &[u8], keep: &[HeaderName]) {
    // Nearly every option is one of these two, and both are in the fixed list.
    if option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close") {
        return;
    }
    let Ok(option) = std::str::from_utf8(option) else {
        return;
    };
    let before = nominated.len();
    nominated.extend(option.chars().map(|c| c.to_ascii_lowercase()));
    let name = &nominated[before..];
    if name.is_empty()
        || is_hop_by_hop(name)
        || is_never_nominated(name)
        || keep.iter().any(|keep| keep == name)
    {
        nominated.truncate(before);
    } else {
        nominated.push(',');
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    fn strip_all(headers: &mut HeaderMap, keep: &[HeaderName]) {
        let seen = Seen::in_head(headers);
        strip(headers, seen, keep).unwrap();
    }

    /// Check 2: all `Connection` lines count.
    #[test]
    fn an_empty_first_line_hides_nothing() {
        let mut headers = map(&[
            ("connection", ""),
            ("connection", "X-Foo"),
            ("x-foo", "1"),
            ("x-bar", "2"),
        ]);
        strip_all(&mut headers, &[]);
        assert_eq!(headers, map(&[("x-bar", "2")]));
    }

    /// Checks 1 and 3: fields that cannot be nominated, and malformed tokens.
    #[test]
    fn some_names_are_not_obeyed() {
        let kept = [
            ("host", "a"),
            ("x-forwarded-for", "1"),
            ("x_forwarded_for", "1"),
            ("x-auth-user", "me"),
        ];
        let mut headers = map(&kept);
        headers.append(
            "connection",
            HeaderValue::from_static("host, x-forwarded-for, X_Forwarded_For"),
        );
        headers.append(
            "connection",
            HeaderValue::from_static("x-auth-user,,\"a b\", :authority"),
        );
        strip_all(&mut headers, &[HeaderName::from_static("x-auth-user")]);
        assert_eq!(headers, map(&kept));
    }

    #[test]
    fn the_fixed_list_goes() {
        let mut headers = map(&[
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "x"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        strip_all(&mut headers, &[]);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }
}
