//! The counters without the feature `status`: nothing is counted.

use std::sync::Arc;

use http::StatusCode;

use crate::{
    clock::Micros,
    error::Error,
    record::{AttemptGuard, Outcome},
};

/// Counts nothing of the attempts at an endpoint.
#[derive(Debug, Default)]
pub(crate) struct NoEndpointStats(());

impl NoEndpointStats {
    /// Does nothing, as all methods here.
    #[inline]
    pub(crate) fn answered(&self, _: StatusCode, _: Micros, _: Option<Micros>) {}

    #[inline]
    pub(crate) fn decided(&self, _: &Outcome, _: Option<&Error>) {}

    #[inline]
    pub(crate) fn transferred(&self, _: &AttemptGuard) {}

    #[inline]
    pub(crate) fn changed(&self, _: Option<Arc<str>>) {}

    #[inline]
    pub(crate) fn last_error(&self) -> Option<String> {
        None
    }
}

/// Counts nothing of a cluster.
#[derive(Debug, Default)]
pub(crate) struct NoClusterStats(());

impl NoClusterStats {
    #[inline]
    pub(crate) fn request(&self) {}

    #[inline]
    pub(crate) fn retry(&self) {}

    #[inline]
    pub(crate) fn hedge(&self) {}

    #[inline]
    pub(crate) fn follow(&self) {}

    #[inline]
    pub(crate) fn discovered(&self) {}

    #[cfg(feature = "config")]
    #[inline]
    pub(crate) fn continue_discovery(&self, _: &Self) {}

    #[inline]
    pub(crate) fn discovery_failed(&self, _: &(dyn std::error::Error + 'static)) {}
}
