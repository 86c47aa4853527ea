//! [`CloseCause`]: why a connection to an endpoint was closed.

/// Why a connection was closed that was not closed with its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CloseCause {
    /// It was idle for too long.
    IdleTimeout,
    /// It was open for too long.
    MaxLifetime,
    /// Enough others were idle.
    Surplus,
    /// It was idle, and its place was needed for another connection.
    Evicted,
    /// The endpoint closed it while it was idle.
    Endpoint,
}

#[cfg(feature = "metrics")]
impl CloseCause {
    /// Returns the cause that was cast to `cause`, or `None` if that is no cause.
    pub(super) fn from_u8(cause: u8) -> Option<Self> {
        let all = [
            Self::IdleTimeout,
            Self::MaxLifetime,
            Self::Surplus,
            Self::Evicted,
            Self::Endpoint,
        ];
        let is_it = |one: &Self| *one as u8 == cause;
        all.into_iter().find(is_it)
    }

    /// Returns the name in labels.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::IdleTimeout => "idle_timeout",
            Self::MaxLifetime => "max_lifetime",
            Self::Surplus => "surplus",
            Self::Evicted => "evicted",
            Self::Endpoint => "endpoint",
        }
    }
}
