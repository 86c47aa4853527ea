//! The fields that matter to a proxy: which names mean what, and which of them a head has.

use std::ops::BitOr;

use http::{HeaderMap, HeaderName};

/// Which of the [`Fields`] a head has, found in one pass.
///
/// Most heads have next to none of them, and a pass over the names of a head costs less than looking up each name that
/// it does not have (some 75 instructions; there were twenty look-ups).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    fields: Fields,
    repeats: bool,
}

/// A set of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields(u16);

impl Fields {
    pub(crate) const CONNECTION: Self = Self(1);
    pub(crate) const CONTENT_LENGTH: Self = Self(1 << 1);
    pub(crate) const COOKIE: Self = Self(1 << 2);
    /// Any that says who the client was.
    pub(crate) const FORWARDING: Self = Self(1 << 3);
    /// Any that must not cross, but for `Connection`.
    pub(crate) const HOP_BY_HOP: Self = Self(1 << 4);
    pub(crate) const HOST: Self = Self(1 << 5);
    pub(crate) const TE: Self = Self(1 << 6);
    pub(crate) const TRANSFER_ENCODING: Self = Self(1 << 7);
    pub(crate) const UPGRADE: Self = Self(1 << 8);
    pub(crate) const VIA: Self = Self(1 << 9);
    pub(crate) const TRAILER: Self = Self(1 << 10);
    pub(crate) const AUTHORIZATION: Self = Self(1 << 11);
    pub(crate) const EXPECT: Self = Self(1 << 12);
    pub(crate) const GRPC_TIMEOUT: Self = Self(1 << 13);

    fn named(name: &str) -> Self {
        match name {
            "authorization" => Self::AUTHORIZATION,
            "connection" => Self::CONNECTION,
            "content-length" => Self::CONTENT_LENGTH,
            "cookie" => Self::COOKIE,
            "expect" => Self::EXPECT,
            "grpc-timeout" => Self::GRPC_TIMEOUT,
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
    pub(crate) fn in_head(headers: &HeaderMap) -> Self {
        let fields = headers
            .keys()
            .fold(Fields(0), |seen, name| seen | Fields::named(name.as_str()));
        Self {
            fields,
            repeats: headers.len() != headers.keys_len(),
        }
    }

    /// Whether any of `fields` is there.
    pub(crate) fn any(self, fields: Fields) -> bool {
        self.fields.0 & fields.0 != 0
    }

    /// Whether some field has several lines.
    pub(crate) fn repeats(self) -> bool {
        self.repeats
    }
}

/// Removes the fields whose names `goes` says yes to. It is asked once for each name.
pub(super) fn remove(headers: &mut HeaderMap, goes: impl FnMut(&HeaderName) -> bool) {
    // All are found in one pass: to search from the start after each removal would take time that grows with the square
    // of their number.
    let mut goes = goes;
    let names: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Names that never cross, whether `Connection` lists them or not: RFC 9110 7.6.1, the fields of RFC 2616 13.5.1, and
/// what speaks of the connection's own security or encoding. `Trailer` is not among them: it announces fields that do
/// cross.
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

/// Names that `Connection` cannot remove: whom the request is for, how it is framed, and what earlier proxies said of
/// it. Obeying a nomination of these has been an attack more than once (CVE-2021-32813, CVE-2024-45410).
pub(super) fn is_never_nominated(name: &str) -> bool {
    matches!(name, "host" | "content-length" | "via" | "max-forwards") || is_forwarding(name)
}

/// Names that say who the client was and what it asked for, in the underscore spelling too, which some servers read as
/// the same name.
pub(super) fn is_forwarding(name: &str) -> bool {
    is_x_forwarded(name)
        || matches!(
            name,
            "forwarded"
                | "x-real-ip"
                | "x_real_ip"
                | "x-original-forwarded-for"
                | "x_original_forwarded_for"
        )
}

fn is_x_forwarded(name: &str) -> bool {
    let name = name.as_bytes();
    name.len() > 12
        && name[..12]
            .iter()
            .zip(b"x-forwarded-")
            .all(|(a, b)| a == b || (*a == b'_' && *b == b'-'))
}

/// Names that must not stand in a trailer section. RFC 9110 6.5.1: fields for framing, routing, authentication and
/// request modifiers are not to be sent there, and a recipient that merges trailers would take one for a header.
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

/// Names whose values the answer to a TRACE leaves out. RFC 9110 9.3.8: fields that are likely to hold sensitive data
/// are not to be reflected.
pub(crate) fn is_sensitive(name: &str) -> bool {
    matches!(name, "cookie" | "authorization" | "proxy-authorization")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The time that a removal takes grows with the number of fields, and no faster.
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
