//! How long an endpoint asks to be left alone, read from the head of its response.
//!
//! [`Load::leave_alone`](super::load::Load::leave_alone) keeps the result. The field itself is forwarded to the client
//! unchanged.

use std::time::{Duration, SystemTime};

use http::{Response, StatusCode, header};

/// The longest time for which a `Retry-After` is honoured: 5 minutes. One mistaken header must not take an endpoint out
/// of use for good.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Returns how long the endpoint asks to be left alone: the `Retry-After` of a 503, which is a number of seconds or a
/// date (RFC 9110 10.2.3), and at most [`MAX_RETRY_AFTER`].
///
/// Returns `None` for any other status, without the field, if its value is invalid, and if the date has passed.
///
/// The field of a 429 refers to the user that sent too many requests (RFC 6585 4), and that of a 3xx to the resource.
/// If either counted, one client could take an endpoint away from all others.
pub(crate) fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    if response.status() != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    // Two fields would be an error of the endpoint; the first one is as good as any.
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // The date is compared with this machine's clock, so a clock that is wrong at either end shifts the time.
        Err(_) => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(SystemTime::now())
            .ok()?,
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(status: u16, value: &str) -> Option<Duration> {
        let response = Response::builder()
            .status(status)
            .header("retry-after", value);
        retry_after(&response.body(()).unwrap())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_an_end() {
        assert_eq!(wait(503, "7"), Some(Duration::from_secs(7)));
        assert_eq!(wait(503, "100000"), Some(Duration::from_secs(300)));
        assert_eq!(wait(503, "soon"), None);
        assert_eq!(
            wait(503, "Sun, 06 Nov 1994 08:49:37 GMT"),
            None,
            "the date has passed"
        );
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
        let left = wait(503, &date).unwrap();
        assert!(
            left <= Duration::from_secs(90) && left > Duration::from_secs(60),
            "{left:?}"
        );
    }

    #[test]
    fn only_a_503_asks_for_the_endpoint() {
        assert_eq!(wait(429, "60"), None, "it speaks of the user");
        assert_eq!(wait(500, "7"), None);
    }
}
