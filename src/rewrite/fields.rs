//! The names of fields that matter to a proxy: what each one means, and which of them a head contains.
//!
//! All tables of names are here, so that the rules of the other files agree on them. Names are compared in lower case,
//! as `http` stores them.

use std::ops::BitOr;

use http::{HeaderMap, HeaderName};

/// Which of the [`Fields`] a head contains, found in one pass over its names.
///
/// Most heads contain few of them, and one pass is cheaper than a lookup for each: a lookup of an absent name costs
/// about 75 instructions, and a head would need about twenty of them.
///
/// It describes the head as it was at the time of the pass. Fields that are added or removed later are not reflected,
/// so a rule that runs after others treats it as "may contain".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    fields: Fields,
    /// Whether any field, not only of the [`Fields`], has more than one line.
    repeats: bool,
}

/// A set of fields, as a bit mask.
///
/// One name may have several bits: `Upgrade` is in `UPGRADE` and in `HOP_BY_HOP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields(u16);

impl Fields {
    pub(crate) const CONNECTION: Self = Self(1);
    pub(crate) const CONTENT_LENGTH: Self = Self(1 << 1);
    pub(crate) const COOKIE: Self = Self(1 << 2);
    /// The fields that say who the client was: see `is_forwarding`.
    pub(crate) const FORWARDING: Self = Self(1 << 3);
    /// The fields that must not cross the proxy, except for `Connection`: see `is_hop_by_hop`.
    pub(crate) const HOP_BY_HOP: Self = Self(1 << 4);
    pub(crate) const HOST: Self = Self(1 << 5);
    pub(crate) const TE: Self = Self(1 << 6);
    pub(crate) const TRANSFER_ENCODING: Self = Self(1 << 7);
    pub(crate) const UPGRADE: Self = Self(1 << 8);
    pub(crate) const VIA: Self = Self(1 << 9);
    pub(crate) const TRAILER: Self = Self(1 << 10);
    pub(crate) const AUTHORIZATION: Self = Self(1 << 11);
    pub(crate) const EXPECT: Self = Self(1 << 12);

    /// Returns the bits of a name in lower case.
    fn named(name: &str) -> Self {
        match name {
            "authorization" => Self::AUTHORIZATION,
            "connection" => Self::CONNECTION,
            "content-length" => Self::CONTENT_LENGTH,
            "cookie" => Self::COOKIE,
            "expect" => Self::EXPECT,
            "host" => Self::HOST,
            "te" => Self::TE | Self::HOP_BY_HOP,
            "trailer" => Self::TRAILER,
            "transfer-encoding" => Self::TRANSFER_ENCODING | Self::HOP_BY_HOP,
            "upgrade" => Self::UPGRADE | Self::HOP_BY_HOP,
            "via" => Self::VIA,
            name if is_hop_by_hop(name) => Self::HOP_BY_HOP,
            name if is_forwarding(name) => Self::FORWARDING,
            _ => Self(0),
        }
    }
}

impl BitOr for Fields {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Seen {
    /// Looks at every name of a head once.
    pub(crate) fn in_head(headers: &HeaderMap) -> Self {
        let fields = headers
            .keys()
            .fold(Fields(0), |seen, name| seen | Fields::named(name.as_str()));
        Self {
            fields,
            repeats: headers.len() != headers.keys_len(),
        }
    }

    /// Returns whether the head contains any of `fields`.
    pub(crate) fn any(self, fields: Fields) -> bool {
        self.fields.0 & fields.0 != 0
    }

    /// Returns whether some field has more than one line.
    pub(crate) fn repeats(self) -> bool {
        self.repeats
    }
}

/// Removes the fields whose names `goes` returns `true` for. It is called once for each name.
pub(super) fn remove(headers: &mut HeaderMap, goes: impl FnMut(&HeaderName) -> bool) {
    // All names are collected in one pass: a search from the start after each removal would take time quadratic in
    // their number, which a client chooses.
    let mut goes = goes;
    let names: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Returns whether a field is never forwarded, whether `Connection` lists it or not.
///
/// - RFC 9110 7.6.1: "intermediaries SHOULD remove or replace fields that are known to require removal before
///   forwarding, whether or not they appear as a connection-option": `Proxy-Connection`, `Keep-Alive`, `TE`,
///   `Transfer-Encoding`, `Upgrade`.
/// - RFC 9110 11.7 and RFC 2616 13.5.1: `Proxy-Authenticate`, `Proxy-Authorization` and `Proxy-Authentication-Info` are
///   between a client and its proxy.
/// - RFC 7540 3.2.1: `HTTP2-Settings` belongs to an upgrade to `h2c`.
/// - `Alt-Svc` and `ALPN` describe the sender's own connections.
/// - RFC 9112 9.6: `Close` is a connection option, reserved as the name of a field.
///
/// `Trailer` is not among them, although RFC 2616 lists it: it announces fields that are forwarded.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-authentication-info"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "alt-svc"
            | "alpn"
            | "close"
    )
}

/// Returns whether a field stays even if `Connection` names it.
///
/// RFC 9110 7.6.1: "A sender MUST NOT send a connection option corresponding to a field that is intended for all
/// recipients of the content." A client that does so wants a field removed that the endpoint relies on: which host the
/// request is for, how it is framed, what earlier proxies said about it. It has been a vulnerability more than once
/// (CVE-2021-32813, CVE-2024-45410).
pub(super) fn is_never_nominated(name: &str) -> bool {
    matches!(name, "host" | "content-length" | "via" | "max-forwards") || is_forwarding(name)
}

/// Returns whether a field says who the client was and what it asked for.
///
/// Spellings with underscores count, because CGI and its successors turn `-` and `_` into the same character (RFC 3875
/// 4.1.18): an endpoint would read `X_Forwarded_For` as `X-Forwarded-For`.
pub(super) fn is_forwarding(name: &str) -> bool {
    name == "forwarded"
        || is_spelled(name, "x-real-ip")
        || is_spelled(name, "x-original-forwarded-for")
        || is_x_forwarded(name)
}

/// Returns whether a name is `x-forwarded-` and something more, with `_` for any `-`.
fn is_x_forwarded(name: &str) -> bool {
    const START: &str = "x-forwarded-";
    name.len() > START.len()
        && name
            .get(..START.len())
            .is_some_and(|start| is_spelled(start, START))
}

/// Returns whether a name is `field`, with `_` for any `-`.
fn is_spelled(name: &str, field: &str) -> bool {
    let same = |(a, b): (u8, u8)| a == b || (a == b'_' && b == b'-');
    name.len() == field.len() && name.bytes().zip(field.bytes()).all(same)
}

/// Returns whether a field must not be in a trailer section.
///
/// RFC 9110 6.5.1 excludes fields that "describe message framing, routing, authentication, request modifiers, response
/// controls, or content format". A recipient that merges trailers into the header section would otherwise read values
/// there that the proxy has neither checked nor set.
pub(super) fn is_forbidden_trailer(name: &str) -> bool {
    is_hop_by_hop(name)
        || is_never_nominated(name)
        || matches!(
            name,
            "authorization"
                | "cookie"
                | "set-cookie"
                | "cache-control"
                | "content-encoding"
                | "content-range"
                | "expect"
                | "range"
                | "trailer"
                | "www-authenticate"
        )
}

/// Returns whether the response to a TRACE leaves a field out.
///
/// RFC 9110 9.3.8: "The final recipient of the request SHOULD exclude any request fields that are likely to contain
/// sensitive data when that recipient generates the response content."
pub(crate) fn is_sensitive(name: &str) -> bool {
    matches!(name, "cookie" | "authorization" | "proxy-authorization")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The time that a removal takes is linear in the number of fields.
    #[test]
    fn each_name_is_looked_at_once() {
        let name = |n| HeaderName::try_from(format!("x-{n}")).unwrap();
        let one = || HeaderValue::from_static("1");
        let mut headers: HeaderMap = (0..1000).map(|n| (name(n), one())).collect();
        headers.append(name(1), one());
        let mut looks = 0;
        remove(&mut headers, |name| {
            looks += 1;
            name.as_str().ends_with(['1', '3', '5', '7', '9'])
        });
        assert_eq!((headers.len(), looks), (500, 1000));
    }

    #[test]
    fn what_is_there_is_seen_and_nothing_else() {
        let mut headers = HeaderMap::new();
        for name in ["accept", "upgrade", "x_forwarded_for"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        let seen = Seen::in_head(&headers);
        assert!(
            seen.any(Fields::UPGRADE)
                && seen.any(Fields::HOP_BY_HOP)
                && seen.any(Fields::FORWARDING)
        );
        assert!(!seen.any(Fields::CONNECTION | Fields::TE | Fields::HOST) && !seen.repeats());
        headers.append("accept", HeaderValue::from_static("2"));
        assert!(Seen::in_head(&headers).repeats());
    }
}
