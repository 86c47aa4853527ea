//! Entity tags, and how they compare (RFC 9110 8.8.3).

use http::{HeaderMap, HeaderValue};

/// Returns whether two tags are equal by weak comparison: "their opaque-tags match character-by-character, regardless
/// of either or both being tagged as weak".
pub(super) fn weakly_equal(one: &[u8], other: &[u8]) -> bool {
    opaque(one) == opaque(other)
}

/// Returns whether two tags are equal by strong comparison: "both are not weak and their opaque-tags match
/// character-by-character".
pub(super) fn strongly_equal(one: &[u8], other: &[u8]) -> bool {
    one == other && !is_weak(one)
}

/// Returns whether a list of tags contains one, by weak comparison, or is `*`.
pub(super) fn list_contains(
    headers: &HeaderMap,
    list: &http::HeaderName,
    tag: Option<&HeaderValue>,
) -> bool {
    let mut members = headers.get_all(list).into_iter().flat_map(tags);
    members.any(|member| {
        member == b"*" || tag.is_some_and(|tag| weakly_equal(member, tag.as_bytes().trim_ascii()))
    })
}

fn is_weak(tag: &[u8]) -> bool {
    tag.starts_with(b"W/")
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Returns the members of a line. A tag may contain commas, and has no escapes.
fn tags(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let members = line.as_bytes().split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    members
        .map(<[u8]>::trim_ascii)
        .filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 9110 8.8.3.2.
    #[test]
    fn comparisons() {
        let table: [(&[u8], &[u8], bool, bool); 4] = [
            (b"W/\"1\"", b"W/\"1\"", false, true),
            (b"W/\"1\"", b"W/\"2\"", false, false),
            (b"W/\"1\"", b"\"1\"", false, true),
            (b"\"1\"", b"\"1\"", true, true),
        ];
        for (one, other, strong, weak) in table {
            assert_eq!(strongly_equal(one, other), strong);
            assert_eq!(weakly_equal(one, other), weak);
        }
    }

    #[test]
    fn lists() {
        let name = http::header::IF_NONE_MATCH;
        let contains = |lines: &[&str], tag: Option<&str>| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&name, line.parse().unwrap());
            }
            let tag = tag.map(|tag| tag.parse().unwrap());
            list_contains(&headers, &name, tag.as_ref())
        };
        assert!(contains(&["\"a\" , W/\"b,c\"", "\"d\""], Some("\"b,c\"")));
        assert!(contains(&["\"a\"", "\"d\\\", \"e\""], Some("\"e\"")));
        assert!(!contains(&["\"a\", \"bc\""], Some("\"b\"")));
        assert!(contains(&["*"], None) && !contains(&["\"a\""], None));
        assert!(!contains(&["\"*\""], None));
    }
}
