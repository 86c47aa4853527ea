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
    /// better, or if more than half of its cluster has asked for the same.
    LeftAlone {
        /// When it may be given requests again.
        until: Instant,
    },
    /// The endpoint fails its [health check](crate::HealthCheck), or has to pass it before its first request and has
    /// not done so yet. It gets a request only if no other endpoint is better.
    FailedCheck,
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
}

impl Availability {
    /// Returns whether the endpoint can take a share of its cluster's requests.
    ///
    /// Priority tiers and the panic threshold count by this. An untested endpoint is well: its first answer is only a
    /// matter of time.
    pub(crate) fn is_well(self) -> bool {
        !matches!(
            self,
            Self::LeftAlone { .. } | Self::FailedCheck | Self::Draining
        )
    }

    /// Returns how the endpoint ranks among the others.
    ///
    /// In a `panic`, when more than half of a cluster should be left alone, none is: the rest would break under the
    /// load that all of them carried. Envoy's panic threshold has the same default of one half.
    pub(super) fn rank(self, panic: bool) -> Rank {
        match self {
            Self::LeftAlone { .. } if !panic => Rank::Avoided,
            Self::FailedCheck | Self::Draining => Rank::Avoided,
            Self::Untested => Rank::Untested,
            Self::Usable | Self::LeftAlone { .. } => Rank::Usable,
        }
    }
}
