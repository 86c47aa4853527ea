//! The metrics of a build without the feature `metrics`: nothing.

use std::sync::Arc;

use http::Method;

use super::CloseCause;
use crate::{
    clock::Micros,
    record::{Attempt, AttemptGuard, EndpointId, OnEnd, Record},
};

/// Stands for every type of the metrics, and does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unmeasured(());

/// Of a cluster.
impl Unmeasured {
    #[inline]
    pub(crate) fn of_cluster(_: &Arc<str>) -> Self {
        Self(())
    }

    #[inline]
    pub(crate) fn retried(self) {}

    #[inline]
    pub(crate) fn hedged(self) {}

    #[inline]
    pub(crate) fn withdrew(self, _granted: bool) {}

    #[inline]
    pub(crate) fn budget(self, _now: Micros, _left: impl FnOnce() -> f64) {}

    #[inline]
    pub(crate) fn queued(self) -> Self {
        self
    }

    #[inline]
    pub(crate) fn queue_rejected(self, _cause: &'static str) {}

    #[inline]
    pub(crate) fn discovered(self) {}

    #[inline]
    pub(crate) fn discovery_failed(self) {}
}

/// Of an endpoint and its attempts.
impl Unmeasured {
    #[inline]
    pub(crate) fn of_endpoint(_: &Arc<EndpointId>) -> Self {
        Self(())
    }

    #[inline]
    pub(crate) fn of(_: &Method) -> Self {
        Self(())
    }

    #[inline]
    pub(crate) fn began(self) {}

    #[inline]
    pub(crate) fn ended<'a>(
        self,
        _: Self,
        _end: impl FnOnce() -> Option<(&'a Record, &'a Attempt)>,
    ) {
    }

    #[inline]
    pub(crate) fn measured(self, _: &Method, attempt: AttemptGuard) -> AttemptGuard {
        attempt
    }

    #[inline]
    pub(crate) fn available(self, _is_well: impl Fn() -> bool) {}

    #[inline]
    pub(crate) fn ejected(self, _cause: &'static str) {}

    #[inline]
    pub(crate) fn admitted(self) {}
}

/// Of an exchange.
impl Unmeasured {
    #[inline]
    pub(crate) fn begin(self, _: &Method) -> Option<Arc<dyn OnEnd>> {
        None
    }
}

/// Of connections.
impl Unmeasured {
    #[inline]
    pub(crate) fn of_pool(_: &Arc<str>) -> Self {
        Self(())
    }

    #[inline]
    pub(crate) fn opened(self) -> Self {
        self
    }

    #[inline]
    pub(crate) fn reused(self) {}

    #[inline]
    pub(crate) fn set_idle(self, _idle: bool) {}

    #[inline]
    pub(crate) fn closes(self, _: CloseCause) {}
}
