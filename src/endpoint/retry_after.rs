//! How long an endpoint asks to be left alone.

use std::time::{Duration, SystemTime};

use http::{Response, StatusCode, header};

/// Longest time that a `Retry-After` is honoured, so that one mistaken header does not take an endpoint away for good.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// The `Retry-After` of a 503, RFC 9110 10.2.3: seconds, or a date.
///
/// A 429 has one, too, but speaks of the user that sent too many requests (RFC 6585 4) and not of the endpoint.
pub(crate) fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    if response.status() != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
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
