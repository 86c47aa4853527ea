//! Conditions of clients, answered from a stored response (RFC 9111 4.3.2).

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{entity_tag::list_contains, freshness::date};

/// Returns whether the client has what is stored, so that it is answered by a 304.
///
/// `received` is when the stored response arrived.
pub(crate) fn is_not_modified(
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    received: SystemTime,
) -> bool {
    // RFC 9110 13.2.1: "A server MUST ignore all received preconditions if its response to the same request without
    // those conditions, prior to processing the request content, would have been a status code other than a 2xx
    // (Successful) or 412 (Precondition Failed)."
    if !status.is_success() {
        return false;
    }
    // RFC 9110 13.1.3: "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match header
    // field".
    if request.contains_key(header::IF_NONE_MATCH) {
        return list_contains(request, &header::IF_NONE_MATCH, stored.get(header::ETAG));
    }
    let Some(since) = date(request, &header::IF_MODIFIED_SINCE) else {
        return false;
    };
    // RFC 9111 4.3.2: "If a request contains an If-Modified-Since header field and the Last-Modified header field is
    // not present in a stored response, a cache SHOULD use the stored response's Date field value (or, if no Date field
    // is present, the time that the stored response was received) to evaluate the conditional."
    let modified = match stored.contains_key(header::LAST_MODIFIED) {
        true => date(stored, &header::LAST_MODIFIED),
        false => date(stored, &header::DATE).or(Some(received)),
    };
    modified.is_some_and(|modified| modified <= since)
}

/// Returns whether a 304 leaves a field of the stored response out.
///
/// RFC 9110 15.4.5: "a sender SHOULD NOT generate representation metadata other than the above listed fields unless
/// said metadata exists for the purpose of guiding cache updates". What is listed are `Content-Location`, `Date`,
/// `ETag` and `Vary`, `Cache-Control` and `Expires`.
pub(crate) fn is_left_out_of_304(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-encoding"
            | "content-language"
            | "content-length"
            | "content-range"
            | "content-type"
    )
}

/// Returns whether a request has conditions that a cache answers itself.
pub(crate) fn has_conditions(request: &HeaderMap) -> bool {
    request.contains_key(header::IF_NONE_MATCH) || request.contains_key(header::IF_MODIFIED_SINCE)
}

/// Removes the conditions that a cache answers itself.
pub(crate) fn remove_conditions(request: &mut HeaderMap) {
    request.remove(header::IF_NONE_MATCH);
    request.remove(header::IF_MODIFIED_SINCE);
}

/// Returns whether a request has conditions that only the origin can answer.
///
/// RFC 9111 4.3.2: "A cache MUST NOT evaluate conditional header fields that only apply to an origin server, occur in a
/// request with semantics that cannot be satisfied with a cached response, or occur in a request with a target resource
/// for which it has no stored responses; such preconditions are likely intended for some other (inbound) server."
pub(crate) fn is_for_origin(request: &HeaderMap) -> bool {
    request.contains_key(header::IF_MATCH) || request.contains_key(header::IF_UNMODIFIED_SINCE)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const EARLY: &str = "Tue, 14 Nov 2023 22:13:19 GMT";
    const NOW: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const LATE: &str = "Tuesday, 14-Nov-23 22:13:21 GMT";

    fn not_modified(
        request: &[(&'static str, &'static str)],
        status: u16,
        stored: &[(&'static str, &'static str)],
    ) -> bool {
        let map = |lines: &[(&'static str, &'static str)]| {
            lines
                .iter()
                .fold(HeaderMap::new(), |mut map, (name, value)| {
                    map.append(*name, value.parse().unwrap());
                    map
                })
        };
        let received = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let status = StatusCode::from_u16(status).unwrap();
        is_not_modified(&map(request), status, &map(stored), received)
    }

    /// RFC 9110 13.1.2: "A recipient MUST use the weak comparison function when comparing entity tags for
    /// If-None-Match".
    #[test]
    fn if_none_match_is_weak() {
        let stored = [("etag", "W/\"a\"")];
        assert!(not_modified(
            &[("if-none-match", "\"b\", \"a\"")],
            200,
            &stored
        ));
        assert!(!not_modified(&[("if-none-match", "\"b\"")], 200, &stored));
        assert!(not_modified(&[("if-none-match", "*")], 200, &[]));
    }

    /// RFC 9110 13.1.3: `If-None-Match` takes precedence.
    #[test]
    fn if_modified_since_counts_without_if_none_match() {
        let stored = [("etag", "\"a\""), ("last-modified", NOW)];
        let since = |date| not_modified(&[("if-modified-since", date)], 200, &stored);
        assert!(since(NOW) && since(LATE) && !since(EARLY));
        assert!(!since("yesterday"));
        let both = [("if-modified-since", LATE), ("if-none-match", "\"b\"")];
        assert!(!not_modified(&both, 200, &stored));
    }

    /// RFC 9111 4.3.2: `Date`, or the time of receipt.
    #[test]
    fn without_last_modified_it_is_the_date() {
        let since = |date, stored: &[_]| not_modified(&[("if-modified-since", date)], 200, stored);
        assert!(since(NOW, &[]) && !since(EARLY, &[]));
        assert!(since(EARLY, &[("date", EARLY)]));
    }

    /// RFC 9110 13.2.1.
    #[test]
    fn only_successful_responses_are_conditional() {
        assert!(!not_modified(&[("if-none-match", "*")], 404, &[]));
    }
}
