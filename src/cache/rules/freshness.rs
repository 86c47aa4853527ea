//! For how long a response is fresh, and how old it is (RFC 9111 4.2).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::directives::{ResponseDirectives, delta_seconds};

/// When a request was sent, and when the head of its response arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeTimes {
    pub(crate) request: SystemTime,
    pub(crate) response: SystemTime,
}

/// Returns whether the status may be stored without an explicit lifetime.
///
/// RFC 9110 15.1: "Responses with status codes that are defined as heuristically cacheable (e.g., 200, 203, 204, 206,
/// 300, 301, 308, 404, 405, 410, 414, and 501 in this specification) can be reused by a cache with heuristic expiration
/// unless otherwise indicated". 206 is not among them: partial responses are not stored.
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Returns the freshness lifetime of a response.
///
/// RFC 9111 4.2.1: "A cache can calculate the freshness lifetime (denoted as freshness_lifetime) of a response by
/// evaluating the following rules and using the first match": `s-maxage`, `max-age`, `Expires` minus `Date`, a
/// heuristic.
pub(super) fn lifetime(
    directives: &ResponseDirectives,
    status: StatusCode,
    headers: &HeaderMap,
    received: SystemTime,
    max_heuristic: Duration,
) -> Duration {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return Duration::from_secs(seconds);
    }
    let date = date(headers, &header::DATE).unwrap_or(received);
    if headers.contains_key(header::EXPIRES) && !directives.targeted {
        // RFC 9111 5.3: "A cache recipient MUST interpret invalid date formats, especially the value "0", as
        // representing a time in the past (i.e., "already expired")."
        let expires = self::date(headers, &header::EXPIRES);
        let lifetime = expires.and_then(|expires| expires.duration_since(date).ok());
        return lifetime.unwrap_or_default();
    }
    if is_heuristically_cacheable(status) || directives.public {
        // RFC 9111 4.2.2: "If the response has a Last-Modified header field (Section 8.8.2 of [HTTP]), caches are
        // encouraged to use a heuristic expiration value that is no more than some fraction of the interval since that
        // time. A typical setting of this fraction might be 10%."
        let modified = self::date(headers, &header::LAST_MODIFIED);
        let unchanged = modified.and_then(|modified| date.duration_since(modified).ok());
        return (unchanged.unwrap_or_default() / 10).min(max_heuristic);
    }
    Duration::ZERO
}

/// Returns the age that a response had when its head arrived: the `corrected_initial_age` of RFC 9111 4.2.3.
pub(super) fn initial_age(headers: &HeaderMap, times: ExchangeTimes) -> Duration {
    let delay = since(times.response, times.request);
    let age_value = Duration::from_secs(age(headers).unwrap_or(0));
    let date = date(headers, &header::DATE);
    // A `Date` has no fractions. With those of our own time, a response would be up to a second old on arrival.
    let apparent_age = date.map_or(Duration::ZERO, |date| since(times.response, date));
    let apparent_age = Duration::from_secs(apparent_age.as_secs());
    apparent_age.max(age_value + delay)
}

/// Returns the value of `Age`.
///
/// RFC 9111 5.1: "Although it is defined as a singleton header field, a cache encountering a message with a list-based
/// Age field value SHOULD use the first member of the field value, discarding subsequent ones. If the field value
/// (after discarding additional members, as per above) is invalid (e.g., it contains something other than a
/// non-negative integer), a cache SHOULD ignore the field."
fn age(headers: &HeaderMap) -> Option<u64> {
    let first = headers.get(header::AGE)?.as_bytes();
    let first = first.split(|byte| *byte == b',').next()?;
    delta_seconds(first.trim_ascii())
}

/// Returns the time that a field says. `None` if it has more than one line, or another format than those of RFC 9110
/// 5.6.7.
///
/// RFC 9111 4.2: "Although all date formats are specified to be case-sensitive, a cache recipient SHOULD match the
/// field value case-insensitively."
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).into_iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let text = line.to_str().ok()?;
    let parsed = httpdate::parse_http_date(text).or_else(|_| {
        // As names are written: `Thu`, `Aug`, and `GMT`.
        let mut after_letter = false;
        let normal = text.chars().map(|c| {
            let follows = std::mem::replace(&mut after_letter, c.is_ascii_alphabetic());
            if follows {
                c.to_ascii_lowercase()
            } else {
                c.to_ascii_uppercase()
            }
        });
        httpdate::parse_http_date(&normal.collect::<String>().replace("Gmt", "GMT"))
    });
    parsed.ok()
}

/// Returns how much later `later` is than `earlier`, and zero if it is not.
pub(super) fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use httpdate::fmt_http_date;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn at(seconds: i64) -> String {
        let offset = Duration::from_secs(seconds.unsigned_abs());
        fmt_http_date(if seconds < 0 {
            now() - offset
        } else {
            now() + offset
        })
    }

    fn map(lines: &[(&'static str, String)]) -> HeaderMap {
        lines
            .iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(*name, value.parse().unwrap());
                map
            })
    }

    fn lifetime_of(lines: &[(&'static str, String)]) -> u64 {
        let headers = map(lines);
        let directives = ResponseDirectives::read(&headers, &[]);
        lifetime(&directives, StatusCode::OK, &headers, now(), DAY).as_secs()
    }

    fn cache_control(value: &str) -> (&'static str, String) {
        ("cache-control", value.to_owned())
    }

    /// RFC 9111 4.2.1: "using the first match".
    #[test]
    fn the_first_that_is_there_counts() {
        let expires = || ("expires", at(30));
        let date = || ("date", at(0));
        assert_eq!(
            lifetime_of(&[cache_control("max-age=10, s-maxage=20"), expires()]),
            20
        );
        assert_eq!(lifetime_of(&[cache_control("max-age=10"), expires()]), 10);
        assert_eq!(
            lifetime_of(&[expires(), date(), ("last-modified", at(-9000))]),
            30
        );
        assert_eq!(lifetime_of(&[date(), ("last-modified", at(-1000))]), 100);
        assert_eq!(lifetime_of(&[date()]), 0);
    }

    /// RFC 9111 5.3: the value of `Expires` minus that of `Date`, or of the time of receipt.
    #[test]
    fn expires_is_relative_to_date() {
        assert_eq!(lifetime_of(&[("expires", at(-10)), ("date", at(-100))]), 90);
        assert_eq!(lifetime_of(&[("expires", at(10)), ("date", at(100))]), 0);
        assert_eq!(
            lifetime_of(&[("expires", at(10)), ("date", "then".into())]),
            10
        );
        for invalid in [
            "0",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
        ] {
            assert_eq!(lifetime_of(&[("expires", invalid.into())]), 0, "{invalid}");
        }
        assert_eq!(lifetime_of(&[("expires", at(10)), ("expires", at(10))]), 0);
    }

    /// RFC 9110 5.6.7: three formats. RFC 9111 4.2: "a cache recipient SHOULD match the field value
    /// case-insensitively", and "SHOULD consider a date with a zone abbreviation other than "GMT" to be invalid".
    #[test]
    fn formats_of_dates() {
        let parse = |text: &str| date(&map(&[("date", text.to_owned())]), &header::DATE);
        let expected = parse("Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(expected.is_some());
        for same in [
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "sUN, 06 nOV 1994 08:49:37 gmt",
            "SUNDAY, 06-NOV-94 08:49:37 GMT",
        ] {
            assert_eq!(parse(same), expected, "{same}");
        }
        for invalid in [
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(invalid), None, "{invalid}");
        }
    }

    /// RFC 9111 4.2.2: "A cache MUST NOT use heuristics to determine freshness when an explicit expiration time is
    /// present in the stored response."
    #[test]
    fn a_heuristic_never_overrides_what_is_explicit() {
        let modified = || ("last-modified", at(-9000));
        assert_eq!(lifetime_of(&[cache_control("max-age=0"), modified()]), 0);
        assert_eq!(lifetime_of(&[("expires", "0".into()), modified()]), 0);
    }

    /// RFC 9111 4.2.2: only statuses that are heuristically cacheable, and what is `public`.
    #[test]
    fn heuristics_depend_on_the_status() {
        let headers = map(&[("last-modified", at(-1000)), ("date", at(0))]);
        let none = ResponseDirectives::default();
        let public = ResponseDirectives {
            public: true,
            ..ResponseDirectives::default()
        };
        let of = |status, directives, max| {
            let status = StatusCode::from_u16(status).unwrap();
            lifetime(directives, status, &headers, now(), max).as_secs()
        };
        assert_eq!(of(404, &none, DAY), 100);
        assert_eq!(of(403, &none, DAY), 0);
        assert_eq!(of(599, &public, DAY), 100);
        assert_eq!(of(200, &none, Duration::from_secs(60)), 60);
        assert_eq!(of(200, &none, Duration::ZERO), 0);
    }

    fn age_of(lines: &[(&'static str, String)], delay: u64) -> u64 {
        let times = ExchangeTimes {
            request: now() - Duration::from_secs(delay),
            response: now() + Duration::from_millis(700),
        };
        initial_age(&map(lines), times).as_secs()
    }

    /// RFC 9111 4.2.3.
    #[test]
    fn the_age_on_arrival() {
        assert_eq!(age_of(&[], 0), 0);
        assert_eq!(age_of(&[("date", at(-7))], 2), 7, "apparent_age");
        assert_eq!(
            age_of(&[("date", at(-7)), ("age", "6".into())], 2),
            8,
            "corrected_age_value"
        );
        assert_eq!(age_of(&[("date", at(7))], 0), 0, "a clock that is ahead");
    }

    /// RFC 9111 5.1.
    #[test]
    fn the_first_member_of_age_counts_and_what_is_invalid_does_not() {
        let age = |value: &str| age_of(&[("age", value.into())], 0);
        assert_eq!((age("7200, 0"), age("0, 7200")), (7200, 0));
        for invalid in ["-7200", "7200.0", "7200;foo=bar", "", "a"] {
            assert_eq!(age(invalid), 0, "{invalid}");
        }
        assert_eq!(age("99999999999999999999"), 1 << 31);
        assert_eq!(age_of(&[("age", "1".into()), ("age", "9".into())], 0), 1);
    }
}
