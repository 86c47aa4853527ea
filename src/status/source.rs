//! A cluster, whatever its endpoints are.

use std::{fmt, sync::Arc};

use http::Request;

use crate::{
    balance::{Handle, LoadBalance},
    body::Body,
    record::Explanation,
    telemetry::ClusterReport,
};

/// A cluster whose status is shown, made of a [`LoadBalance`] or a [`Handle`].
///
/// It keeps the endpoints and their connections, but not the task that follows a discovery.
#[derive(Clone)]
pub struct StatusSource(Arc<dyn Source>);

/// What is asked of a cluster.
trait Source: Send + Sync {
    fn name(&self) -> Arc<str>;
    fn report(&self) -> ClusterReport;
    fn explain(&self, request: &Request<Body>) -> Explanation;
    fn drain(&self, endpoint: &str) -> bool;
    fn restore(&self, endpoint: &str) -> bool;
    fn set_weight(&self, endpoint: &str, weight: u32) -> bool;
}

impl<S: Send + Sync + 'static> Source for Handle<S> {
    fn name(&self) -> Arc<str> {
        self.cluster_name()
    }

    fn report(&self) -> ClusterReport {
        self.status()
    }

    fn explain(&self, request: &Request<Body>) -> Explanation {
        Self::explain(self, request)
    }

    fn drain(&self, endpoint: &str) -> bool {
        Self::set_weight(self, endpoint, 0).is_some()
    }

    fn restore(&self, endpoint: &str) -> bool {
        Self::restore(self, endpoint)
    }

    fn set_weight(&self, endpoint: &str, weight: u32) -> bool {
        Self::set_weight(self, endpoint, weight).is_some()
    }
}

impl StatusSource {
    /// Returns the name of the cluster.
    pub(super) fn name(&self) -> Arc<str> {
        self.0.name()
    }

    /// Returns the status.
    pub(super) fn report(&self) -> ClusterReport {
        self.0.report()
    }

    /// Returns where a request would go.
    pub(super) fn explain(&self, request: &Request<Body>) -> Explanation {
        self.0.explain(request)
    }

    /// Lets an endpoint have no new requests. Returns false if there is none of this name.
    pub(super) fn drain(&self, endpoint: &str) -> bool {
        self.0.drain(endpoint)
    }

    /// Gives an endpoint its weight back.
    pub(super) fn restore(&self, endpoint: &str) -> bool {
        self.0.restore(endpoint)
    }

    /// Gives an endpoint another weight.
    pub(super) fn set_weight(&self, endpoint: &str, weight: u32) -> bool {
        self.0.set_weight(endpoint, weight)
    }
}

/// What may be another one each time it is looked at: the clusters of a configuration, and what became of its last
/// change.
#[derive(Clone, Default)]
pub(crate) struct ChangingSource {
    /// The clusters, as they are now.
    pub(crate) clusters: Option<Arc<dyn Fn() -> Vec<StatusSource> + Send + Sync>>,
    /// The state of the configuration, as JSON.
    pub(crate) configuration: Option<Arc<dyn Fn() -> serde_json::Value + Send + Sync>>,
}

impl fmt::Debug for ChangingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangingSource").finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static> From<&LoadBalance<S>> for StatusSource {
    fn from(balance: &LoadBalance<S>) -> Self {
        balance.handle().into()
    }
}

impl<S: Send + Sync + 'static> From<Handle<S>> for StatusSource {
    fn from(handle: Handle<S>) -> Self {
        Self(Arc::new(handle))
    }
}

impl fmt::Debug for StatusSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StatusSource").field(&self.name()).finish()
    }
}
