//! Whether an endpoint may be given requests now.
//!
//! There is one answer, [`Availability`], and one place that decides it,
//! [`Load::availability`](super::load::Load::availability). Policies do not look at its variants: they compare its
//! [`Rank`], or count the endpoints that are [well](Availability::is_well).
//!
//! An endpoint never reports that it is unavailable by an error or a pending `poll_ready`: tower's `ReadyCache` drops a
//! service that returns an error, and cannot say how many services are pending.

use tokio::time::Instant;

/// Whether an endpoint may be given requests now, and if not, why and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Availability {
    /// The endpoint takes requests.
    Usable,
    /// The endpoint was added to a cluster at work, has not answered successfully yet, and has a request in flight. It
    /// gets another one only if no endpoint is usable, so that one that does not work harms one request at a time.
    Untested,
    /// The endpoint asked to be left alone, by `Retry-After` in a 503. It gets a request only if no other endpoint is
    /// better, or if fewer than half of its cluster are well.
    LeftAlone {
        /// When it may be given requests again.
        until: Instant,
    },
    /// The endpoint has failed too often, and gets no requests until then. If it answers, though, it is used while
    /// fewer than half of its cluster are well.
    Ejected {
        /// When it is in probation.
        until: Instant,
        /// Whether it does not answer at all, rather than badly.
        silent: bool,
    },
    /// The endpoint was ejected, and the back-off has passed: it is given one request, which decides about it.
    Probation {
        /// Whether it did not answer at all, rather than badly.
        silent: bool,
    },
    /// The endpoint fails its active check. It is used only while fewer than half of its cluster are well.
    FailedCheck,
    /// The endpoint has to pass its active check before it gets its first request.
    Unchecked,
    /// As many requests are in flight at the endpoint as it may have. It gets another one when one of them has ended.
    Full,
    /// The endpoint gets no new requests: it has been removed, or its weight was set to 0. Those in flight finish.
    Draining,
}

/// The order in which endpoints are preferred, whatever they cost.
///
/// An endpoint of a later rank is picked only if none of an earlier rank can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Requests should go here.
    Usable,
    /// It is not known whether the endpoint works.
    Untested,
    /// The endpoint should get no requests. It is still better than failing a request without an attempt.
    Avoided,
    /// The endpoint gets no requests.
    Closed,
}

impl Availability {
    /// Returns whether the endpoint can take a share of its cluster's requests.
    ///
    /// Priority tiers and the panic threshold count by this. An untested endpoint is well: its first answer is only a
    /// matter of time. So is one that is full, since it works.
    pub(crate) fn is_well(self) -> bool {
        matches!(self, Self::Usable | Self::Untested | Self::Full)
    }

    /// Returns how the endpoint ranks among the others.
    ///
    /// In a `panic`, when fewer than half of a cluster are well, all that answer are used: the rest would break under
    /// the load that all of them carried. Envoy's panic threshold has the same default of one half. One that does not
    /// answer would take no load off the others.
    pub(super) fn rank(self, panic: bool) -> Rank {
        match self {
            Self::Usable => Rank::Usable,
            Self::Untested => Rank::Untested,
            Self::LeftAlone { .. }
            | Self::FailedCheck
            | Self::Ejected { silent: false, .. }
            | Self::Probation { silent: false }
                if panic =>
            {
                Rank::Usable
            }
            Self::LeftAlone { .. } => Rank::Avoided,
            Self::Ejected { .. }
            | Self::Probation { .. }
            | Self::FailedCheck
            | Self::Unchecked
            | Self::Full
            | Self::Draining => Rank::Closed,
        }
    }
}
