//! Fields that belong to one connection and must not cross the proxy.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

use super::{
    fields::{Fields, Seen, is_forbidden_trailer, is_hop_by_hop, is_never_nominated},
    list::members,
};

/// Removes the fixed list and every field that any `Connection` line names, but for those in `keep`.
///
/// RFC 9110 7.6.1: "Intermediaries MUST parse a received Connection header field before a message is forwarded and,
/// for each connection-option in this field, remove any header or trailer field(s) from the message with the same name
/// as the connection-option, and then remove the Connection header field itself". All lines count, empty ones
/// included (CVE-2021-33197). A malformed token names nothing.
///
/// What was named is given back, because it has to go from the trailers too.
pub(super) fn strip(headers: &mut HeaderMap, seen: Seen, keep: &[HeaderName]) -> Vec<HeaderName> {
    let mut nominated = Vec::new();
    if seen.any(Fields::CONNECTION) {
        if let Entry::Occupied(lines) = headers.entry(header::CONNECTION) {
            nominated = names(lines.iter());
            lines.remove();
        }
        nominated.retain(|name| !is_never_nominated(name.as_str()) && !keep.contains(name));
        for name in &nominated {
            headers.remove(name);
        }
    }
    if seen.any(Fields::HOP_BY_HOP) {
        while let Some(name) = headers
            .keys()
            .find(|name| is_hop_by_hop(name.as_str()))
            .cloned()
        {
            headers.remove(name);
        }
    }
    nominated
}

fn names<'a>(connection: impl Iterator<Item = &'a HeaderValue>) -> Vec<HeaderName> {
    let is_field = |option: &[u8]| {
        !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
    };
    // Nearly every line is one of the two words: then it need not be taken apart.
    let lines = connection.filter(|line| is_field(line.as_bytes()));
    let options = lines.flat_map(members).filter(|option| is_field(option));
    options
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect()
}

/// Removes from a trailer section what may not be there, and what `Connection` has `nominated`.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap, nominated: &[HeaderName]) {
    let forbidden = |name: &str| {
        is_forbidden_trailer(name) || nominated.iter().any(|nominated| nominated == name)
    };
    while let Some(name) = trailers
        .keys()
        .find(|name| forbidden(name.as_str()))
        .cloned()
    {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
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
        strip(headers, seen, keep);
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

    /// Checks 1 and 3: what cannot be nominated, and tokens that are none.
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

    #[test]
    fn trailers_cannot_frame_or_authenticate() {
        let mut trailers = map(&[
            ("content-length", "3"),
            ("authorization", "x"),
            ("grpc-status", "0"),
            ("x", "1"),
        ]);
        strip_trailers(&mut trailers, &[HeaderName::from_static("x")]);
        assert_eq!(trailers, map(&[("grpc-status", "0")]));
    }
}
