//! Which responses are stored, and what of their heads (RFC 9111 3).

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{directives::ResponseDirectives, freshness::is_heuristically_cacheable};
use crate::rewrite::tokens;

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotStored {
    /// It is for nobody but the client that has asked: the next response may well be stored.
    Request,
    /// It says so itself, or nothing in it says that it may be reused.
    Response,
}

/// Decides whether a response to a GET may be stored by a shared cache.
///
/// RFC 9111 3: "A cache MUST NOT store a response to a request unless" each of the conditions holds that are checked
/// here, but for two: that it is useful, which [`is_useful`] says, and that the request allows it.
pub(crate) fn storable(
    authorized: bool,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
) -> Result<(), NotStored> {
    // "if the response status code is 206 or 304, or the must-understand cache directive (see Section 5.2.2.3) is
    // present: the cache understands the response status code"
    let must_understand = directives.must_understand && !is_understood(status);
    if matches!(status.as_u16(), 100..=199 | 206 | 304) {
        return Err(NotStored::Request);
    }
    // RFC 9111 5.2.2.3: "the cache SHOULD ignore the no-store directive if it understands and implements the status
    // code's caching requirements."
    let no_store = directives.no_store && !directives.must_understand;
    if must_understand || no_store || directives.private {
        return Err(NotStored::Response);
    }
    let explicit = directives.public
        || directives.max_age.is_some()
        || directives.s_maxage.is_some()
        || (headers.contains_key(header::EXPIRES) && !directives.targeted);
    if !explicit && !is_heuristically_cacheable(status) {
        return Err(NotStored::Response);
    }
    // Stricter than the RFC, whose section 7.3 has a server say so that does not want its cookies stored: most servers
    // that set one for a single client do not.
    let hides = |name| directives.hidden.contains(name);
    let sets_cookie = headers.contains_key(header::SET_COOKIE) && !hides(&header::SET_COOKIE);
    if sets_cookie && !directives.is_for_shared_caches() {
        return Err(NotStored::Response);
    }
    // RFC 9111 3.5: "A shared cache MUST NOT use a cached response to a request with an Authorization header field
    // (Section 11.6.2 of [HTTP]) to satisfy any subsequent request unless the response contains a Cache-Control field
    // with a response directive (Section 5.2.2) that allows it to be stored by a shared cache".
    if authorized && !directives.allow_authorized() {
        return Err(NotStored::Request);
    }
    Ok(())
}

/// Returns whether this cache conforms to what is said of the status: those of RFC 9110 that a response can be stored
/// with. Others are stored if they have an explicit lifetime, as RFC 9111 3 allows, but not with `must-understand`.
fn is_understood(status: StatusCode) -> bool {
    is_heuristically_cacheable(status) || matches!(status.as_u16(), 302 | 303 | 307 | 400 | 403)
}

/// Returns the fields of a response that are stored.
///
/// RFC 9111 3.1: "Caches MUST include all received response header fields -- including unrecognized ones -- when
/// storing a response; this assures that new HTTP header fields can be successfully deployed." Excepted are those of
/// the connection, those "that are specific to the proxy that a cache uses when forwarding a request", and those that
/// `no-cache` and `private` name.
///
/// Names and values are copied: they may be slices of a buffer that is much larger than they are.
pub(crate) fn stored_fields(headers: &HeaderMap, hidden: &[HeaderName]) -> HeaderMap {
    let mut stored = HeaderMap::with_capacity(headers.len() + 2);
    for (name, value) in headers {
        if is_of_connection(name) || is_nominated(headers, name) || hidden.contains(name) {
            continue;
        }
        let copies = (
            HeaderName::from_bytes(name.as_str().as_bytes()),
            http::HeaderValue::from_bytes(value.as_bytes()),
        );
        if let (Ok(name), Ok(mut copy)) = copies {
            copy.set_sensitive(value.is_sensitive());
            stored.append(name, copy);
        }
    }
    stored
}

/// Returns whether a field is about the connection that it came by, or about the proxy at its end.
pub(super) fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Returns whether `Connection` names a field.
pub(super) fn is_nominated(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.contains_key(header::CONNECTION)
        && tokens(headers, &header::CONNECTION)
            .any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
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

    fn decide(
        authorized: bool,
        status: u16,
        lines: &[(&'static str, &'static str)],
    ) -> Result<(), NotStored> {
        let headers = map(lines);
        let directives = ResponseDirectives::read(&headers, &[]);
        let status = StatusCode::from_u16(status).unwrap();
        storable(authorized, status, &headers, &directives)
    }

    fn says(status: u16, value: &'static str) -> bool {
        decide(false, status, &[("cache-control", value)]).is_ok()
    }

    /// RFC 9111 3: "the response contains at least one of the following".
    #[test]
    fn something_has_to_allow_it() {
        assert!(decide(false, 200, &[]).is_ok() && decide(false, 404, &[]).is_ok());
        assert!(decide(false, 403, &[]).is_err() && decide(false, 599, &[]).is_err());
        assert!(says(403, "public") && says(599, "max-age=0") && says(302, "s-maxage=1"));
        assert!(decide(false, 500, &[("expires", "0")]).is_ok());
        assert!(!says(500, "no-cache"));
    }

    /// RFC 9111 5.2.2.5 and 5.2.2.7.
    #[test]
    fn no_store_and_private_forbid_it() {
        assert!(!says(200, "max-age=60, no-store") && !says(200, "public, private"));
        assert!(says(200, "max-age=60, private=\"a\"") && says(200, "no-cache"));
    }

    /// RFC 9111 3: 206 and 304 are not understood. Neither says anything of the next response.
    #[test]
    fn what_is_not_understood_is_not_stored() {
        let lines = [("cache-control", "max-age=60")];
        assert_eq!(decide(false, 206, &lines), Err(NotStored::Request));
        assert_eq!(decide(false, 304, &lines), Err(NotStored::Request));
    }

    /// RFC 9111 5.2.2.3.
    #[test]
    fn must_understand_overrides_no_store_for_statuses_that_are_understood() {
        assert!(says(200, "max-age=60, no-store, must-understand"));
        assert!(!says(599, "max-age=60, no-store, must-understand"));
        assert!(!says(599, "max-age=60, must-understand"));
    }

    /// RFC 9111 3.5.
    #[test]
    fn authorization_needs_a_directive() {
        let says = |value| decide(true, 200, &[("cache-control", value)]);
        assert_eq!(says("max-age=60"), Err(NotStored::Request));
        assert_eq!(
            says("max-age=60, proxy-revalidate"),
            Err(NotStored::Request)
        );
        for allowed in [
            "max-age=60, public",
            "s-maxage=60",
            "max-age=60, must-revalidate",
        ] {
            assert_eq!(says(allowed), Ok(()), "{allowed}");
        }
    }

    /// A cookie is given to other clients only if the origin names shared caches.
    #[test]
    fn cookies_need_a_directive() {
        let says = |value| {
            let lines = [("set-cookie", "a=b"), ("cache-control", value)];
            decide(false, 200, &lines).is_ok()
        };
        assert!(!says("max-age=60") && !says("max-age=60, must-revalidate"));
        assert!(says("max-age=60, public") && says("s-maxage=60"));
        assert!(
            says("max-age=60, no-cache=\"set-cookie\""),
            "it is not stored"
        );
        let headers = map(&[("set-cookie", "a=b"), ("cdn-cache-control", "max-age=60")]);
        let target = [HeaderName::from_static("cdn-cache-control")];
        let directives = ResponseDirectives::read(&headers, &target);
        assert!(storable(false, StatusCode::OK, &headers, &directives).is_ok());
    }

    /// RFC 9111 3.1.
    #[test]
    fn fields_of_the_connection_and_hidden_ones_are_left_out() {
        let headers = map(&[
            ("connection", "A, close"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("c", "4"),
            ("proxy-authenticate", "x"),
            ("transfer-encoding", "chunked"),
            ("unheard-of", "5"),
        ]);
        let stored = stored_fields(&headers, &[HeaderName::from_static("b")]);
        assert_eq!(stored, map(&[("c", "3"), ("c", "4"), ("unheard-of", "5")]));
    }
}
