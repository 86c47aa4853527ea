//! Asking the origin whether a stored response is still current, and what its answer changes (RFC 9111 4.3).

use http::{HeaderMap, header};

use super::{
    directives::ResponseDirectives,
    entity_tag::weakly_equal,
    storable::{is_nominated, is_of_connection},
};

/// Replaces the conditions of a client by those of the cache. Without a validator in the stored response, there are
/// none.
///
/// RFC 9111 4.3.1: a cache "MUST send the relevant entity tags (using If-Match, If-None-Match, or If-Range) if the
/// entity tags were provided in the stored response(s) being validated", and `Last-Modified` as `If-Modified-Since`.
pub(crate) fn make_conditional(request: &mut HeaderMap, stored: &HeaderMap) {
    let pairs = [
        (header::IF_NONE_MATCH, header::ETAG),
        (header::IF_MODIFIED_SINCE, header::LAST_MODIFIED),
    ];
    for (condition, validator) in pairs {
        match stored.get(validator) {
            Some(validator) => {
                request.insert(condition, validator.clone());
            }
            None => drop(request.remove(condition)),
        }
    }
    // The whole is wanted if it has changed.
    request.remove(header::RANGE);
    request.remove(header::IF_RANGE);
}

/// Returns whether a 304 is about the stored response.
///
/// RFC 9111 4.3.4: "If the new response contains one or more strong validators [...] if none of the initial set
/// contains at least one of the same strong validators, then the cache MUST NOT use the new response to update any
/// stored responses." A weak tag that differs is about another response, too.
pub(crate) fn confirms(stored: &HeaderMap, update: &HeaderMap) -> bool {
    match (stored.get(header::ETAG), update.get(header::ETAG)) {
        (Some(stored), Some(new)) => {
            weakly_equal(stored.as_bytes().trim_ascii(), new.as_bytes().trim_ascii())
        }
        _ => true,
    }
}

/// Returns whether a 200 to a HEAD is about the stored response: validators, and the length, as far as it has them.
///
/// RFC 9111 4.3.5.
pub(crate) fn head_confirms(stored: &HeaderMap, length: u64, head: &HeaderMap) -> bool {
    let same = |name| {
        head.get(&name)
            .is_none_or(|value| stored.get(&name) == Some(value))
    };
    let same_length = head.get(header::CONTENT_LENGTH).is_none_or(|value| {
        let value = value.to_str().ok().and_then(|value| value.parse().ok());
        value == Some(length)
    });
    same(header::ETAG) && same(header::LAST_MODIFIED) && same_length
}

/// Returns the stored fields with those of a newer response in their place.
///
/// RFC 9111 3.2: "the cache MUST add each header field in the provided response to the stored response, replacing field
/// values that are already present, with the following exceptions": those that are not stored, `Content-Length`, and
/// those that say how to read the content that is stored, which has not come again.
///
/// A `Set-Cookie` is for the client that has asked, unless the origin names shared caches.
pub(crate) fn freshen(
    stored: &HeaderMap,
    update: &HeaderMap,
    directives: &ResponseDirectives,
) -> HeaderMap {
    let mut fresh = stored.clone();
    // An age is of one response. The new one has been validated just now.
    fresh.remove(header::AGE);
    // RFC 9111 5.2.2.4: these fields are for the client that has asked, those of an earlier response, too.
    for name in &directives.hidden {
        fresh.remove(name);
    }
    for name in update.keys() {
        let describes_content = matches!(
            name.as_str(),
            "content-encoding" | "content-length" | "content-range"
        );
        let own_cookie = *name == header::SET_COOKIE && !directives.is_for_shared_caches();
        if describes_content
            || own_cookie
            || is_of_connection(name)
            || is_nominated(update, name)
            || directives.hidden.contains(name)
        {
            continue;
        }
        fresh.remove(name);
        for value in update.get_all(name) {
            fresh.append(name, value.clone());
        }
    }
    fresh
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(*name, value.parse().unwrap());
                map
            })
    }

    /// RFC 9111 4.3.1.
    #[test]
    fn the_conditions_are_those_of_the_stored_response() {
        let mut request = map(&[
            ("if-none-match", "\"b\""),
            ("if-modified-since", "x"),
            ("range", "bytes=0-1"),
            ("a", "1"),
        ]);
        make_conditional(&mut request, &map(&[("etag", "\"a\"")]));
        assert_eq!(request, map(&[("if-none-match", "\"a\""), ("a", "1")]));
        (make_conditional(&mut request, &map(&[("last-modified", "y")])));
        assert_eq!(request, map(&[("if-modified-since", "y"), ("a", "1")]));
        make_conditional(&mut request, &map(&[]));
        assert_eq!(request, map(&[("a", "1")]));
    }

    /// RFC 9111 4.3.4.
    #[test]
    fn another_validator_confirms_nothing() {
        let stored = map(&[("etag", "\"a\"")]);
        assert!(confirms(&stored, &map(&[])) && confirms(&stored, &map(&[("etag", "W/\"a\"")])));
        assert!(!confirms(&stored, &map(&[("etag", "\"b\"")])));
    }

    /// RFC 9111 4.3.5: "matching values for any received validator fields (ETag and Last-Modified) and, if the HEAD
    /// response has a Content-Length header field, the value of Content-Length matches that of the stored response".
    #[test]
    fn a_head_confirms_what_it_agrees_with() {
        let stored = map(&[("etag", "\"a\"")]);
        assert!(head_confirms(
            &stored,
            3,
            &map(&[("content-length", "3"), ("etag", "\"a\"")])
        ));
        assert!(head_confirms(&stored, 3, &map(&[])));
        for other in [
            ("content-length", "4"),
            ("etag", "\"b\""),
            ("last-modified", "x"),
        ] {
            assert!(!head_confirms(&stored, 3, &map(&[other])), "{other:?}");
        }
    }

    /// RFC 9111 3.2.
    #[test]
    fn fields_of_the_new_response_take_the_place_of_old_ones() {
        let stored = map(&[
            ("a", "1"),
            ("b", "1"),
            ("b", "2"),
            ("age", "9"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
        ]);
        let update = map(&[
            ("b", "3"),
            ("c", "4"),
            ("c", "5"),
            ("content-length", "0"),
            ("content-encoding", "br"),
            ("connection", "d"),
            ("d", "6"),
            ("set-cookie", "x=y"),
        ]);
        let fresh = freshen(&stored, &update, &ResponseDirectives::default());
        let mut expected = map(&[
            ("a", "1"),
            ("b", "3"),
            ("c", "4"),
            ("c", "5"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
        ]);
        assert_eq!(fresh, expected);
        let shared = ResponseDirectives {
            public: true,
            ..ResponseDirectives::default()
        };
        expected.insert("set-cookie", "x=y".parse().unwrap());
        assert_eq!(freshen(&stored, &update, &shared), expected);
    }
}
