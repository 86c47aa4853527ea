//! `Via`, request loops and `Max-Forwards`: the fields that keep a request from being forwarded forever.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts};

use super::list::{append, tokens};
use crate::error::{BoxError, Error, ErrorKind};

const MAX_FORWARDS: HeaderName = header::MAX_FORWARDS;

/// This proxy's pseudonym in `Via`, and the members it makes for each version of HTTP.
///
/// The members are built once, because every request gets one of them.
#[derive(Clone, Debug)]
pub(crate) struct Via {
    /// The received-by of our members: a token, compared without regard to case.
    pseudonym: String,
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// Returns the members for a pseudonym.
    ///
    /// # Errors
    ///
    /// Fails if the pseudonym is not a token (RFC 9110 5.6.2).
    pub(crate) fn new(pseudonym: &str) -> Result<Self, BoxError> {
        // A field name is a token too, and is checked by the same grammar.
        HeaderName::from_bytes(pseudonym.as_bytes())?;
        Ok(Self {
            pseudonym: pseudonym.to_owned(),
            http10: format!("1.0 {pseudonym}").try_into()?,
            http11: format!("1.1 {pseudonym}").try_into()?,
            http2: format!("2 {pseudonym}").try_into()?,
        })
    }

    /// Checks that this proxy has not forwarded the request before.
    ///
    /// # Errors
    ///
    /// Returns a 508 if any member of any `Via` line has our pseudonym. RFC 9110 7.6.3 gives the field this purpose:
    /// "avoiding request loops".
    pub(super) fn check_loop(&self, headers: &HeaderMap) -> Result<(), Error> {
        let ours = |member: &[u8]| {
            // received-protocol RWS received-by [ RWS comment ]
            let mut words = member
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty());
            words
                .nth(1)
                .is_some_and(|by| by.eq_ignore_ascii_case(self.pseudonym.as_bytes()))
        };
        if tokens(headers, &header::VIA).any(ours) {
            return Err(Error::new(ErrorKind::Loop));
        }
        Ok(())
    }

    /// Appends our member, with the version in which the message was received.
    ///
    /// RFC 9110 7.6.3: "An HTTP-to-HTTP gateway MUST send an appropriate Via header field in each inbound request
    /// message and MAY send a Via header field in forwarded response messages."
    pub(super) fn add(&self, headers: &mut HeaderMap, version: Version) {
        let member = match version {
            Version::HTTP_2 => &self.http2,
            Version::HTTP_10 => &self.http10,
            _ => &self.http11,
        };
        append(headers, header::VIA, member);
    }
}

/// Decrements `Max-Forwards`. Returns `true` if it is zero, so that the proxy itself must answer.
///
/// RFC 9110 7.6.2: "Each intermediary that receives a TRACE or OPTIONS request containing a Max-Forwards header field
/// MUST check and update its value prior to forwarding the request." Requests with other methods keep the field as it
/// is, as the same section allows.
///
/// # Errors
///
/// Returns a 400 if there is more than one line, or if the value is not a number. To guess would be to forward a
/// request that may have to stop here.
pub(super) fn max_forwards(parts: &mut Parts) -> Result<bool, Error> {
    if parts.method != Method::TRACE && parts.method != Method::OPTIONS {
        return Ok(false);
    }
    let mut lines = parts.headers.get_all(MAX_FORWARDS).into_iter();
    let (Some(value), None) = (lines.next(), lines.next()) else {
        return match parts.headers.contains_key(MAX_FORWARDS) {
            true => Err(Error::bad_request("more than one Max-Forwards")),
            false => Ok(false),
        };
    };
    let digits = value
        .to_str()
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let digits = digits.ok_or_else(|| Error::bad_request("invalid Max-Forwards"))?;
    // A number that does not fit into a `u64` is more hops than exist. It is lowered to one that fits, as "the
    // recipient's maximum supported value" (RFC 9110 7.6.2).
    match digits.parse::<u64>().unwrap_or(u64::MAX).checked_sub(1) {
        None => Ok(true),
        Some(left) => {
            parts.headers.insert(MAX_FORWARDS, HeaderValue::from(left));
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_loop_is_seen_in_any_line_and_position() {
        let headers = |values: &[&'static str]| {
            let mut map = HeaderMap::new();
            for value in values {
                map.append("via", HeaderValue::from_static(value));
            }
            map
        };
        let me = Via::new("me").unwrap();
        assert!(
            me.check_loop(&headers(&["1.0 fred", "1.1 x, HTTP/1.1 Me (comment)"]))
                .is_err()
        );
        assert!(
            me.check_loop(&headers(&["1.0 fred", "1.1 mexico (me)"]))
                .is_ok()
        );
        assert!(Via::new("two words").is_err());
    }

    #[test]
    fn max_forwards_counts_down_for_two_methods() {
        let run = |method: &str, value: &str| {
            let request = Request::builder()
                .method(method)
                .header("max-forwards", value)
                .body(())
                .unwrap();
            let mut parts = request.into_parts().0;
            let answer = max_forwards(&mut parts).ok()?;
            Some((
                answer,
                parts.headers["max-forwards"].to_str().unwrap().to_owned(),
            ))
        };
        assert_eq!(run("OPTIONS", "0"), Some((true, "0".into())));
        assert_eq!(run("TRACE", "7"), Some((false, "6".into())));
        assert_eq!(run("GET", "0"), Some((false, "0".into())));
        assert_eq!(run("OPTIONS", "-1"), None);
        assert_eq!(
            run("OPTIONS", "99999999999999999999999"),
            Some((false, (u64::MAX - 1).to_string()))
        );
    }
}
