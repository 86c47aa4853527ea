//! `Cache-Status`: what the cache has done about a request (RFC 9211).

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request has gone to the origin (RFC 9211 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForwardReason {
    /// The cache was not asked: it has no key for the request, or could be poisoned by it.
    Bypass,
    /// The method is not one that is answered from a cache.
    Method,
    /// Nothing is stored for the URL.
    UriMiss,
    /// Something is stored for the URL, but not for the fields that it varies by.
    VaryMiss,
    /// What is stored is stale.
    Stale,
    /// What is stored is fresh, and the request does not accept it.
    Request,
}

/// What is said of one response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CacheStatus {
    /// It was answered from the store. The time is in seconds, negative for a stale response.
    Hit { time_to_live: i64 },
    /// The request was forwarded.
    Forwarded {
        reason: ForwardReason,
        /// The status that came back, if the response has another one.
        status: Option<StatusCode>,
        /// Whether the response is being stored.
        stored: bool,
        /// Whether it was the request of another client that was forwarded.
        collapsed: bool,
    },
    /// There is nothing stored, and the client wants nothing else.
    OnlyIfCached,
}

impl CacheStatus {
    /// A request that was forwarded, and whose response is not stored.
    pub(super) fn passed(reason: ForwardReason) -> Self {
        Self::Forwarded {
            reason,
            status: None,
            stored: false,
            collapsed: false,
        }
    }

    /// Adds the field, behind what other caches have said.
    pub(super) fn add(self, name: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let Some(name) = name.and_then(|name| name.to_str().ok()) else {
            return;
        };
        let mut text = String::with_capacity(name.len() + 40);
        text.push_str(name);
        self.write(&mut text);
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(CACHE_STATUS, value);
        }
    }

    fn write(self, text: &mut String) {
        match self {
            Self::Hit { time_to_live } => {
                // Writing to a string does not fail.
                let _ = write!(text, "; hit; ttl={time_to_live}");
            }
            Self::OnlyIfCached => text.push_str("; detail=only-if-cached"),
            Self::Forwarded {
                reason,
                status,
                stored,
                collapsed,
            } => {
                text.push_str("; fwd=");
                text.push_str(reason.as_str());
                if let Some(status) = status {
                    let _ = write!(text, "; fwd-status={}", status.as_u16());
                }
                if stored {
                    text.push_str("; stored");
                }
                if collapsed {
                    text.push_str("; collapsed");
                }
            }
        }
    }
}

impl ForwardReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

/// Returns a name as the field has it: a token, or else a string (RFC 9211 2). `None` if it is neither.
pub(super) fn status_name(name: &str) -> Option<HeaderValue> {
    let is_token = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte));
    if is_token {
        return HeaderValue::from_str(name).ok();
    }
    let is_text = !name.is_empty() && name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
    is_text.then(|| HeaderValue::try_from(format!("\"{escaped}\"")).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9211 2.
    #[test]
    fn what_is_said() {
        let said = |status: CacheStatus| {
            let mut headers = HeaderMap::new();
            status.add(Some(&HeaderValue::from_static("a")), &mut headers);
            headers[CACHE_STATUS].to_str().unwrap().to_owned()
        };
        assert_eq!(
            said(CacheStatus::Hit { time_to_live: -3 }),
            "a; hit; ttl=-3"
        );
        assert_eq!(
            said(CacheStatus::passed(ForwardReason::Method)),
            "a; fwd=method"
        );
        let all = CacheStatus::Forwarded {
            reason: ForwardReason::Stale,
            status: Some(StatusCode::NOT_MODIFIED),
            stored: true,
            collapsed: true,
        };
        assert_eq!(said(all), "a; fwd=stale; fwd-status=304; stored; collapsed");
        let mut headers = HeaderMap::new();
        all.add(None, &mut headers);
        assert!(headers.is_empty());
    }

    /// RFC 9211 2: "The first member represents the cache closest to the origin server".
    #[test]
    fn it_comes_behind_other_caches() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_STATUS, HeaderValue::from_static("b; hit"));
        let name = HeaderValue::from_static("a");
        CacheStatus::OnlyIfCached.add(Some(&name), &mut headers);
        let all: Vec<_> = headers.get_all(CACHE_STATUS).into_iter().collect();
        assert_eq!(all, ["b; hit", "a; detail=only-if-cached"]);
    }

    #[test]
    fn names_are_tokens_or_strings() {
        assert_eq!(status_name("a.b-c").unwrap(), "a.b-c");
        assert_eq!(status_name("1 \"x\"").unwrap(), "\"1 \\\"x\\\"\"");
        assert!(status_name("").is_none() && status_name("\u{e4}").is_none());
    }
}
