//! How an endpoint did with one request, as far as picking is concerned.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Response, StatusCode, header};

use crate::error::{Error, Side};

/// Longest time that a `Retry-After` is honoured, so that one mistaken header does not take an endpoint away for good.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What an answer says of the endpoint it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it was asked; a 404 is an answer.
    Success,
    /// It did not, and may have asked not to be asked for a while.
    Failure { retry_after: Option<Duration> },
    /// Nothing: the client was at fault, or gave up.
    Unknown,
}

impl Outcome {
    /// A server error, or too much for this endpoint (429), is a failure; so is a gRPC call whose head says so.
    pub(crate) fn of_response<B>(response: &Response<B>) -> Self {
        let status = response.status();
        let overloaded = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        match overloaded || status.is_server_error() || grpc_failed(response.headers()) {
            true => Self::Failure {
                retry_after: overloaded
                    .then(|| retry_after(response.headers()))
                    .flatten(),
            },
            false => Self::Success,
        }
    }

    pub(crate) fn of_error(error: &Error) -> Self {
        match error.side() {
            Side::Upstream => Self::Failure { retry_after: None },
            Side::Downstream | Side::Internal => Self::Unknown,
        }
    }
}

/// A response without messages carries its status in the head ("trailers-only"). These are the server's own failures:
/// UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
fn grpc_failed(headers: &HeaderMap) -> bool {
    let status = headers.get("grpc-status").map(|status| status.as_bytes());
    matches!(status, Some(b"2" | b"4" | b"8" | b"13" | b"14" | b"15"))
}

/// RFC 9110 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
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

    fn outcome(status: u16, fields: &[(&'static str, &str)]) -> Outcome {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        Outcome::of_response(&response.body(()).unwrap())
    }

    fn failure(seconds: impl Into<Option<u64>>) -> Outcome {
        Outcome::Failure {
            retry_after: seconds.into().map(Duration::from_secs),
        }
    }

    #[test]
    fn what_counts_as_a_failure() {
        for status in [200, 204, 301, 304, 400, 404, 499] {
            assert_eq!(outcome(status, &[]), Outcome::Success, "{status}");
        }
        for status in [429, 500, 502, 503, 504] {
            assert_eq!(outcome(status, &[]), failure(None), "{status}");
        }
        assert_eq!(outcome(200, &[("grpc-status", "14")]), failure(None));
        assert_eq!(
            outcome(200, &[("grpc-status", "5")]),
            Outcome::Success,
            "NOT_FOUND is an answer"
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_an_end() {
        assert_eq!(outcome(503, &[("retry-after", "7")]), failure(7));
        assert_eq!(outcome(429, &[("retry-after", "100000")]), failure(300));
        assert_eq!(outcome(503, &[("retry-after", "soon")]), failure(None));
        assert_eq!(
            outcome(500, &[("retry-after", "7")]),
            failure(None),
            "not a status that it belongs to"
        );
        let past = outcome(503, &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(past, failure(None));
        let future = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
        let Outcome::Failure {
            retry_after: Some(wait),
        } = outcome(503, &[("retry-after", &future)])
        else {
            panic!("the date is in the future");
        };
        assert!(
            wait <= Duration::from_secs(90) && wait > Duration::from_secs(60),
            "{wait:?}"
        );
    }

    #[test]
    fn errors_of_the_client_are_not_the_endpoints() {
        use crate::error::Kind;
        assert_eq!(
            Outcome::of_error(&Error::new(Kind::Unreachable)),
            failure(None)
        );
        assert_eq!(
            Outcome::of_error(&Error::new(Kind::RequestBody)),
            Outcome::Unknown
        );
    }
}
