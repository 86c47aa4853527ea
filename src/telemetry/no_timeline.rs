//! The timeline without the feature `status`: nothing is kept.

use std::sync::Arc;

/// What has happened to an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TimelineKind {
    Added,
    Removed,
    Ejected,
    Admitted,
    Drained,
    Restored,
    Weight,
    FailedCheck,
    PassedCheck,
}

/// No events.
#[derive(Debug, Default)]
pub(crate) struct Timeline;

impl Timeline {
    /// Whether anything is kept at all.
    pub(crate) const KEEPS: bool = false;

    /// Does nothing.
    #[inline]
    pub(crate) fn add(&self, _: &Arc<str>, _: TimelineKind, _: Option<Arc<str>>) {}
}
