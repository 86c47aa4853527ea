//! The kinds of events in a timeline.

/// What has happened to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "status",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[cfg_attr(
    not(feature = "status"),
    expect(unreachable_pub, reason = "public with the feature alone")
)]
#[non_exhaustive]
pub enum TimelineKind {
    /// It was added to the cluster.
    Added,
    /// It was removed from the cluster.
    Removed,
    /// It was taken out for its failures.
    Ejected,
    /// It is used again after an ejection.
    Admitted,
    /// It gets no new requests, by [`Handle::drain`](crate::balance::Handle::drain) or a weight of 0.
    Drained,
    /// It gets requests again after that.
    Restored,
    /// It was given another weight.
    Weight,
    /// It failed its health check.
    FailedCheck,
    /// It passed its health check after it had failed it.
    PassedCheck,
}
