//! The timeline without the feature `status`: nothing is kept.

use std::sync::Arc;

use super::timeline_kind::TimelineKind;

/// No events.
#[derive(Debug, Default)]
pub(crate) struct NoTimeline(());

impl NoTimeline {
    /// Whether anything is kept at all.
    pub(crate) const KEEPS: bool = false;

    /// Does nothing.
    #[inline]
    pub(crate) fn add(&self, _: &Arc<str>, _: TimelineKind, _: Option<Arc<str>>) {}
}
