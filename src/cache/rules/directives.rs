//! `Cache-Control` of requests and responses (RFC 9111 5.2), and the fields that take its place (RFC 9213).

use http::{HeaderMap, HeaderName, header};

use super::structured::{StructuredItem, dictionary};

/// The longest time that a directive can say.
///
/// RFC 9111 1.2.2: "If a cache receives a delta-seconds value greater than the greatest integer it can represent, or if
/// any of its subsequent calculations overflows, the cache MUST consider the value to be 2147483648 (2^31) or the
/// greatest positive integer it can conveniently represent."
const MAX_SECONDS: u64 = 1 << 31;

/// What a response says about how it may be stored and reused. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    /// `must-revalidate`, and `proxy-revalidate`, which is the same to a shared cache.
    pub(crate) must_revalidate: bool,
    /// `must-revalidate` alone, which also allows a response to a request with `Authorization` to be stored.
    pub(crate) origin_must_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) max_age: Option<u64>,
    pub(crate) s_maxage: Option<u64>,
    pub(crate) stale_while_revalidate: Option<u64>,
    pub(crate) stale_if_error: Option<u64>,
    /// The fields that `no-cache="..."` and `private="..."` name.
    pub(crate) hidden: Vec<HeaderName>,
    /// Whether they come from a targeted field, so that `Cache-Control` and `Expires` say nothing.
    pub(crate) targeted: bool,
}

/// What a request says about which responses it accepts. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<u64>,
    pub(crate) min_fresh: Option<u64>,
    /// How stale a response may be. `u64::MAX` is any age.
    pub(crate) max_stale: Option<u64>,
}

impl ResponseDirectives {
    /// Reads the first field of `targets` that is well-formed and not empty, or else `Cache-Control`.
    ///
    /// RFC 9213 2.2: "the cache MUST select the first (in target-list order) field with a valid, non-empty value and
    /// use its value to determine the caching policy for the response, and it MUST ignore the Cache-Control and Expires
    /// header fields in that response".
    pub(crate) fn read(headers: &HeaderMap, targets: &[HeaderName]) -> Self {
        let mut targeted = targets.iter().filter(|name| headers.contains_key(*name));
        if let Some(directives) = targeted.find_map(|name| Self::read_targeted(headers, name)) {
            return directives;
        }
        let mut directives = Self::default();
        for_each(headers, |name, argument| directives.add(name, argument));
        directives
    }

    /// Reads one targeted field. `None` if it is empty, malformed, or gives a directive a value of the wrong type.
    fn read_targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut directives = Self {
            targeted: true,
            ..Self::default()
        };
        let members = dictionary(headers, name)?;
        for (name, value) in &members {
            let takes_seconds = matches!(
                name.as_str(),
                "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error"
            );
            let lists_fields = matches!(name.as_str(), "no-cache" | "private");
            let argument = match value {
                StructuredItem::Boolean(false) => continue,
                StructuredItem::Boolean(true) if !takes_seconds => Argument::None,
                // A time before now is none at all, as it is in `Cache-Control`.
                StructuredItem::Integer(seconds) if takes_seconds => {
                    Argument::Seconds(u64::try_from(*seconds).unwrap_or(0))
                }
                StructuredItem::Text(names) if lists_fields => Argument::Text(names.clone()),
                _ if takes_seconds || lists_fields => return None,
                _ => continue,
            };
            directives.add(name, &argument);
        }
        (!members.is_empty()).then_some(directives)
    }

    /// Returns whether the origin has said outright that any client may be given the response.
    ///
    /// RFC 9111 3.5: "In this specification, the following response directives have such an effect: must-revalidate
    /// (Section 5.2.2.2), public (Section 5.2.2.9), and s-maxage (Section 5.2.2.10)."
    pub(crate) fn allow_authorized(&self) -> bool {
        self.public || self.origin_must_revalidate || self.s_maxage.is_some()
    }

    /// Returns whether the origin has named shared caches: what a response with `Set-Cookie` has to say to be stored.
    pub(crate) fn is_for_shared_caches(&self) -> bool {
        self.public || self.s_maxage.is_some() || (self.targeted && self.max_age.is_some())
    }

    /// Adds a directive. Its name is in lower case.
    fn add(&mut self, name: &str, argument: &Argument) {
        match name {
            "no-store" => self.no_store = true,
            "public" => self.public = true,
            "must-revalidate" => {
                self.must_revalidate = true;
                self.origin_must_revalidate = true;
            }
            "proxy-revalidate" => self.must_revalidate = true,
            "must-understand" => self.must_understand = true,
            "no-cache" => self.no_cache |= !self.hide(argument),
            "private" => self.private |= !self.hide(argument),
            "max-age" => limit(&mut self.max_age, argument),
            "s-maxage" => limit(&mut self.s_maxage, argument),
            "stale-while-revalidate" => limit(&mut self.stale_while_revalidate, argument),
            "stale-if-error" => limit(&mut self.stale_if_error, argument),
            _ => {}
        }
    }

    /// Adds the names of a qualified directive. Returns `false` if it is not qualified, or if what it names are not
    /// fields: then it means the whole response.
    fn hide(&mut self, argument: &Argument) -> bool {
        let Argument::Text(names) = argument else {
            return false;
        };
        let names = names.split(',').map(str::trim).filter(|n| !n.is_empty());
        let names: Result<Vec<_>, _> = names
            .map(|n| HeaderName::from_bytes(n.as_bytes()))
            .collect();
        match names {
            Ok(names) if !names.is_empty() => {
                self.hidden.extend(names);
                true
            }
            _ => false,
        }
    }
}

impl RequestDirectives {
    /// Reads `Cache-Control`. What is invalid is as if it was not there: the directives of requests are advisory (RFC
    /// 9111 5.2.1).
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for_each(headers, |name, argument| match name {
            "no-store" => directives.no_store = true,
            "no-cache" => directives.no_cache = true,
            "only-if-cached" => directives.only_if_cached = true,
            "max-age" => directives.max_age = directives.max_age.or(argument.seconds()),
            "min-fresh" => directives.min_fresh = directives.min_fresh.or(argument.seconds()),
            "max-stale" => {
                directives.max_stale = match argument {
                    Argument::None => Some(u64::MAX),
                    argument => argument.seconds().or(directives.max_stale),
                };
            }
            _ => {}
        });
        directives
    }
}

/// Sets a time that a response says.
///
/// RFC 9111 4.2.1: "When there is more than one value present for a given directive (e.g., two Expires header field
/// lines or multiple Cache-Control: max-age directives), either the first occurrence should be used or the response
/// should be considered stale." It is considered stale, and so is one whose value is invalid: "Caches are encouraged to
/// consider responses that have invalid freshness information (e.g., a max-age directive with non-integer content) to
/// be stale."
fn limit(seconds: &mut Option<u64>, argument: &Argument) {
    let said = argument.seconds().unwrap_or(0);
    *seconds = match *seconds {
        Some(before) if before != said => Some(0),
        _ => Some(said),
    };
}

/// The argument of a directive.
#[derive(Debug, PartialEq, Eq)]
enum Argument {
    None,
    /// A token or a quoted string, without the quotes.
    Text(String),
    Seconds(u64),
    /// There is white space around the `=`, or a quote is missing.
    Invalid,
}

impl Argument {
    fn seconds(&self) -> Option<u64> {
        match self {
            Self::Seconds(seconds) => Some((*seconds).min(MAX_SECONDS)),
            Self::Text(text) => delta_seconds(text.as_bytes()),
            Self::None | Self::Invalid => None,
        }
    }
}

/// Parses a number of seconds. One that is too large is [`MAX_SECONDS`].
pub(super) fn delta_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| {
        let next = sum
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'));
        next.min(MAX_SECONDS)
    };
    Some(text.iter().fold(0, add))
}

/// Calls `directive` with the name, in lower case, and the argument of every directive of `Cache-Control`.
fn for_each(headers: &HeaderMap, mut directive: impl FnMut(&str, &Argument)) {
    for line in headers.get_all(header::CACHE_CONTROL) {
        for member in split(line.as_bytes(), b',') {
            let Ok(member) = std::str::from_utf8(member.trim_ascii()) else {
                continue;
            };
            let (name, argument) = match member.split_once('=') {
                None => (member, Argument::None),
                Some((name, value)) => (name, argument(name, value)),
            };
            directive(&name.trim_end().to_ascii_lowercase(), &argument);
        }
    }
}

/// Reads what follows the `=` after a name.
fn argument(name: &str, value: &str) -> Argument {
    if name.ends_with([' ', '\t']) || value.starts_with([' ', '\t']) {
        return Argument::Invalid;
    }
    let Some(quoted) = value.strip_prefix('"') else {
        return Argument::Text(value.to_owned());
    };
    let Some(quoted) = quoted.strip_suffix('"') else {
        return Argument::Invalid;
    };
    // What a backslash escapes is itself.
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        text.extend(if char == '\\' {
            chars.next()
        } else {
            Some(char)
        });
    }
    Argument::Text(text)
}

/// Splits a value at a delimiter that is not within a quoted string (RFC 9110 5.6.4).
pub(super) fn split(value: &[u8], delimiter: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte => return *byte == delimiter && !quoted,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(*name, value.parse().unwrap());
                map
            })
    }

    fn response(value: &str) -> ResponseDirectives {
        ResponseDirectives::read(&map(&[("cache-control", value)]), &[])
    }

    fn targeted(lines: &[(&'static str, &str)]) -> ResponseDirectives {
        let target = HeaderName::from_static("cdn-cache-control");
        ResponseDirectives::read(&map(lines), &[target])
    }

    /// RFC 9111 5.2: "Cache directives are identified by a token, to be compared case-insensitively, and have an
    /// optional argument that can use both token and quoted-string syntax."
    #[test]
    fn names_in_any_case_and_arguments_in_both_forms() {
        let said = response("No-StOrE, MAX-age=\"10\", x=\"s-maxage=5, public\", public");
        assert!(said.no_store && said.public);
        assert_eq!((said.max_age, said.s_maxage), (Some(10), None));
        let unclosed = response("x=\"s-maxage=5, public");
        assert!(!unclosed.public && unclosed.s_maxage.is_none());
    }

    /// RFC 9111 5.3: several lines are one list.
    #[test]
    fn all_lines_count() {
        let lines = [
            ("cache-control", "max-age=3"),
            ("cache-control", "s-maxage=1"),
        ];
        let said = ResponseDirectives::read(&map(&lines), &[]);
        assert_eq!((said.max_age, said.s_maxage), (Some(3), Some(1)));
    }

    /// RFC 9111 1.2.2 and 4.2.1.
    #[test]
    fn times_that_are_invalid_too_large_or_contradictory() {
        assert_eq!(
            response("max-age=99999999999999999999").max_age,
            Some(1 << 31)
        );
        assert_eq!(response("max-age=003600").max_age, Some(3600));
        for stale in [
            "-1",
            "1.5",
            "'60'",
            "a",
            "",
            " 60",
            "\"60",
            "60, max-age=61",
        ] {
            assert_eq!(
                response(&format!("max-age={stale}")).max_age,
                Some(0),
                "{stale}"
            );
        }
        assert_eq!(response("max-age =60").max_age, Some(0));
        assert_eq!(response("max-age").max_age, Some(0));
        assert_eq!(response("max-age=60, max-age=60").max_age, Some(60));
    }

    /// RFC 9111 5.2.2.4 and 5.2.2.7: "only the listed header fields are limited".
    #[test]
    fn qualified_directives_hide_fields() {
        let said = response("no-cache=\"a, B\", private=\"set-cookie\"");
        assert!(!said.no_cache && !said.private);
        assert_eq!(said.hidden, ["a", "b", "set-cookie"]);
        assert!(response("private=\"a\", private").private);
        assert!(response("no-cache=\"\"").no_cache && response("no-cache=\"?:\"").no_cache);
        assert!(response("private=").private);
    }

    /// RFC 9213 2.2: the first field that is valid and not empty.
    #[test]
    fn a_targeted_field_takes_the_place_of_cache_control() {
        let said = targeted(&[
            ("cache-control", "no-store"),
            ("cdn-cache-control", "max-age=5"),
        ]);
        assert_eq!(
            (said.max_age, said.no_store, said.targeted),
            (Some(5), false, true)
        );
        for ignored in [
            "",
            "max-age=5, &&&&",
            "max-age=\"5\"",
            "max-age",
            "Max-Age=5",
        ] {
            let said = targeted(&[
                ("cache-control", "no-store"),
                ("cdn-cache-control", ignored),
            ]);
            assert!(said.no_store && !said.targeted, "{ignored}");
        }
        let lines = [
            ("b", "max-age=1"),
            ("a", "max-age=x"),
            ("cache-control", "max-age=3"),
        ];
        let targets = ["a", "b"].map(HeaderName::from_static);
        let said = ResponseDirectives::read(&map(&lines), &targets);
        assert_eq!(
            said.max_age,
            Some(1),
            "the second, because the first is malformed"
        );
        let none = targeted(&[
            ("cache-control", "max-age=9"),
            ("cdn-cache-control", "none"),
        ]);
        assert_eq!((none.max_age, none.targeted), (None, true));
        let negative = targeted(&[(
            "cdn-cache-control",
            "max-age=-5, no-cache=\"a\", private=?0",
        )]);
        assert_eq!((negative.max_age, negative.private), (Some(0), false));
        assert_eq!(negative.hidden, ["a"]);
    }

    /// RFC 9111 5.2.1.
    #[test]
    fn directives_of_requests() {
        let read = |value| RequestDirectives::read(&map(&[("cache-control", value)]));
        let said = read("no-cache, no-store, only-if-cached, max-age=1, min-fresh=2, max-stale=3");
        let expected = RequestDirectives {
            no_store: true,
            no_cache: true,
            only_if_cached: true,
            max_age: Some(1),
            min_fresh: Some(2),
            max_stale: Some(3),
        };
        assert_eq!(said, expected);
        assert_eq!(read("max-stale").max_stale, Some(u64::MAX));
        assert_eq!(read("max-age=a, foo"), RequestDirectives::default());
    }
}
