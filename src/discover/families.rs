//! [`Families`]: which addresses are used.

/// The families of addresses that are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Families {
    /// IPv4 and IPv6.
    #[default]
    Both,
    V4,
    V6,
}

impl Families {
    /// Returns whether addresses of IPv4 are used.
    pub(super) fn have_v4(self) -> bool {
        self != Self::V6
    }

    /// Returns whether addresses of IPv6 are used.
    pub(super) fn have_v6(self) -> bool {
        self != Self::V4
    }
}
