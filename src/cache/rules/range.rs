//! Parts of a complete stored response (RFC 9110 14).

use std::ops::Range;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    entity_tag::strongly_equal,
    freshness::{date, since},
};

/// What of a stored response answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RangeAnswer {
    /// All of it, as if no range had been asked for.
    Whole,
    /// A 206 with these bytes.
    Part(Range<u64>),
    /// A 416: the range begins behind the end.
    Unsatisfiable,
}

/// Decides what a GET gets of a stored response with content of this length.
///
/// Several ranges are answered by the whole. RFC 9110 14.2: "A server MAY ignore the Range header field."
pub(crate) fn range_answer(
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    length: u64,
) -> RangeAnswer {
    let mut lines = request.get_all(header::RANGE).into_iter();
    let (Some(range), None) = (lines.next(), lines.next()) else {
        return RangeAnswer::Whole;
    };
    // RFC 9110 14.2: "if the selected representation [...] A server MUST ignore a Range header field received with a
    // request method that is unrecognized or for which range handling is not defined", and one whose `If-Range` does
    // not match.
    if status != StatusCode::OK || !if_range_matches(request, stored) {
        return RangeAnswer::Whole;
    }
    parse(range, length).unwrap_or(RangeAnswer::Whole)
}

/// Returns whether a request for a range is still one if what it depends on has to be current.
///
/// RFC 9110 13.1.5: "If the HTTP-date validator provided is not a strong validator in the sense defined by Section
/// 8.8.2.2, the condition is false." And: "If the entity-tag validator provided exactly matches the ETag field value
/// for the selected representation using the strong comparison function (Section 8.8.3.2), the condition is true."
fn if_range_matches(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(validator) = request.get(header::IF_RANGE) else {
        return true;
    };
    let validator_bytes = validator.as_bytes().trim_ascii();
    if validator_bytes.starts_with(b"\"") || validator_bytes.starts_with(b"W/") {
        let tag = stored.get(header::ETAG);
        return tag.is_some_and(|tag| strongly_equal(tag.as_bytes().trim_ascii(), validator_bytes));
    }
    let (Some(modified), Some(sent)) = (
        date(stored, &header::LAST_MODIFIED),
        date(stored, &header::DATE),
    ) else {
        return false;
    };
    // RFC 9110 8.8.2.2: strong if it is "at least one second" older than the `Date`, by the clock of the origin.
    let is_strong = !since(sent, modified).is_zero();
    is_strong && stored.get(header::LAST_MODIFIED) == Some(validator)
}

/// Parses one range of bytes. `None` if it is something else, which is ignored.
fn parse(range: &HeaderValue, length: u64) -> Option<RangeAnswer> {
    let (unit, set) = range.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        // The last bytes. More of them than there are is all.
        let count = position(last)?.min(length);
        return Some(match count {
            0 => RangeAnswer::Unsatisfiable,
            count => RangeAnswer::Part(length - count..length),
        });
    }
    let first = position(first)?;
    let last = match last {
        "" => u64::MAX,
        last => position(last)?,
    };
    // RFC 9110 14.1.1: "An int-range is invalid if the last-pos value is present and less than the first-pos."
    if last < first {
        return None;
    }
    Some(match first < length {
        true => RangeAnswer::Part(first..last.saturating_add(1).min(length)),
        false => RangeAnswer::Unsatisfiable,
    })
}

/// Parses a number, which may be larger than any length.
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const EARLY: &str = "Tue, 14 Nov 2023 22:13:19 GMT";

    fn answer(
        request: &[(&'static str, &'static str)],
        stored: &[(&'static str, &'static str)],
    ) -> RangeAnswer {
        let map = |lines: &[(&'static str, &'static str)]| {
            lines
                .iter()
                .fold(HeaderMap::new(), |mut map, (name, value)| {
                    map.append(*name, value.parse().unwrap());
                    map
                })
        };
        range_answer(&map(request), StatusCode::OK, &map(stored), 10)
    }

    fn of(range: &'static str) -> RangeAnswer {
        answer(&[("range", range)], &[])
    }

    /// RFC 9110 14.1.2.
    #[test]
    fn single_ranges() {
        assert_eq!(of("bytes=0-1"), RangeAnswer::Part(0..2));
        assert_eq!(of("bytes=9-9"), RangeAnswer::Part(9..10));
        assert_eq!(of("bytes=4-"), RangeAnswer::Part(4..10));
        assert_eq!(of("bytes=4-99999999999999999999"), RangeAnswer::Part(4..10));
        assert_eq!(of("bytes=-3"), RangeAnswer::Part(7..10));
        assert_eq!(of("Bytes=-30"), RangeAnswer::Part(0..10));
        assert_eq!(of("bytes=10-"), RangeAnswer::Unsatisfiable);
        assert_eq!(of("bytes=-0"), RangeAnswer::Unsatisfiable);
    }

    /// RFC 9110 14.2: "A server MAY ignore the Range header field."
    #[test]
    fn what_is_ignored() {
        for ignored in [
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=-",
            "bytes",
            "bytes=+1-2",
        ] {
            assert_eq!(of(ignored), RangeAnswer::Whole, "{ignored}");
        }
        assert_eq!(
            answer(&[("range", "bytes=0-1"), ("range", "bytes=0-1")], &[]),
            RangeAnswer::Whole
        );
    }

    /// RFC 9110 13.1.5.
    #[test]
    fn if_range_needs_a_strong_validator() {
        let part = RangeAnswer::Part(0..2);
        let with = |condition, stored: &[_]| {
            answer(&[("range", "bytes=0-1"), ("if-range", condition)], stored)
        };
        assert_eq!(with("\"a\"", &[("etag", "\"a\"")]), part);
        for stored in ["W/\"a\"", "\"b\""] {
            assert_eq!(with("\"a\"", &[("etag", stored)]), RangeAnswer::Whole);
        }
        assert_eq!(with("W/\"a\"", &[("etag", "W/\"a\"")]), RangeAnswer::Whole);
        assert_eq!(
            with(EARLY, &[("last-modified", EARLY), ("date", NOW)]),
            part
        );
        assert_eq!(
            with(NOW, &[("last-modified", NOW), ("date", NOW)]),
            RangeAnswer::Whole
        );
        assert_eq!(
            with(NOW, &[("last-modified", EARLY), ("date", NOW)]),
            RangeAnswer::Whole
        );
        assert_eq!(with(EARLY, &[("last-modified", EARLY)]), RangeAnswer::Whole);
    }
}
