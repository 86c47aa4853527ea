//! Which fields a head has, found out in one pass.

use std::ops::BitOr;

use http::HeaderMap;

use super::{forwarded::is_forwarding, hop_by_hop::is_hop_by_hop};

/// What there is of the fields that we ask for.
///
/// Most heads have next to none of them, and a pass over the names that are there costs less than a look-up of
/// each that is not (some 75 instructions; there were twenty).
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

    fn named(name: &str) -> Self {
        match name {
            "connection" => Self::CONNECTION,
            "content-length" => Self::CONTENT_LENGTH,
            "cookie" => Self::COOKIE,
            "host" => Self::HOST,
            "te" => Self::TE | Self::HOP_BY_HOP,
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

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
