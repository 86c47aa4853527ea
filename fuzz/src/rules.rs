//! What the documentation promises of heads, written down a second time: if this and the crate agree, neither has
//! slipped.

use http::{HeaderMap, HeaderName};

/// Fields that never cross.
pub(crate) const HOP_BY_HOP: [&str; 13] = [
    "alpn",
    "alt-svc",
    "close",
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Fields that say who the client was and what it asked for.
pub(crate) fn is_forwarding(name: &str) -> bool {
    let name = name.replace('_', "-");
    name.starts_with("x-forwarded-") && name.len() > "x-forwarded-".len()
        || ["forwarded", "x-real-ip", "x-original-forwarded-for"].contains(&name.as_str())
}

/// What `Connection` has removed.
pub(crate) fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let kept = ["host", "content-length", "via", "max-forwards"];
    headers
        .get_all("connection")
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| !kept.contains(&name.as_str()) && !is_forwarding(name.as_str()))
        .collect()
}

/// The lines of a field, in their order.
pub(crate) fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    let lines = headers.get_all(name).iter();
    lines.map(http::HeaderValue::as_bytes).collect()
}

/// A message has one framing: a length, said once and as a number, or a transfer coding, or neither.
pub(crate) fn has_one_framing(headers: &HeaderMap) {
    let lengths = lines(headers, "content-length");
    assert!(lengths.len() <= 1, "several lengths: {headers:?}");
    assert!(
        lengths.is_empty() || !headers.contains_key("transfer-encoding"),
        "a length and a coding: {headers:?}"
    );
}

/// Every field that is not for this connection alone has crossed with all its lines, and none has come up that is not
/// among `added`. Fields among `changed` are looked at by whoever calls this.
pub(crate) fn the_rest_crosses(from: &HeaderMap, to: &HeaderMap, changed: &[&str], added: &[&str]) {
    let nominated = nominated(from);
    for name in from.keys() {
        let text = name.as_str();
        if HOP_BY_HOP.contains(&text) || changed.contains(&text) || is_forwarding(text) {
            continue;
        }
        if nominated.contains(name) {
            assert!(!to.contains_key(name), "{name} was named in Connection");
        } else {
            assert_eq!(lines(from, text), lines(to, text), "{name} has changed");
        }
    }
    for name in to.keys() {
        let text = name.as_str();
        let known = from.contains_key(name) && !HOP_BY_HOP.contains(&text);
        assert!(known || added.contains(&text), "{name} has come up: {to:?}");
    }
}
