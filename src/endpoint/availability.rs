//! Whether an endpoint may be given requests now.

use tokio::time::Instant;

/// Whether an endpoint may be given requests now, and if not, why and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Availability {
    /// It takes requests.
    Usable,
    /// It is new and busy with the first request it was ever given, so it is not known to work. It gets another one
    /// only if no other endpoint is usable.
    Untested,
    /// It asked by `Retry-After` to be left alone until then. It gets a request only if no other endpoint is better, or
    /// if more than half of its cluster has asked for the same.
    LeftAlone {
        /// When it may be asked again.
        until: Instant,
    },
    /// It gets no new requests: it has been removed, or its weight was set to 0. Those in flight finish.
    Draining,
}

/// The order in which endpoints are preferred, whatever they cost. A later one is picked when there is no earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Usable,
    Untested,
    Avoided,
}

impl Availability {
    /// Whether the endpoint is up to a share of its cluster's requests.
    pub(crate) fn is_well(self) -> bool {
        !matches!(self, Self::LeftAlone { .. } | Self::Draining)
    }

    /// How the endpoint ranks among the others. In a `panic`, when most of a cluster should be left alone, none is:
    /// those that are left would break under what all of them carried.
    pub(super) fn rank(self, panic: bool) -> Rank {
        match self {
            Self::LeftAlone { .. } if !panic => Rank::Avoided,
            Self::Draining => Rank::Avoided,
            Self::Untested => Rank::Untested,
            Self::Usable | Self::LeftAlone { .. } => Rank::Usable,
        }
    }
}
