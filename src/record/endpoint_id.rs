//! What an endpoint is called, in records, logs and metrics.

use std::sync::Arc;

/// The name of an endpoint and that of its cluster.
///
/// There is one per endpoint, shared by its attempts, so that an attempt refers to both for the price of one.
#[derive(Debug)]
pub(crate) struct EndpointId {
    /// `None` for a client that is used without a balancer.
    cluster: Option<Arc<str>>,
    name: Arc<str>,
    /// `None` for a service that is no client of this crate.
    url: Option<Arc<str>>,
}

impl EndpointId {
    /// Returns the identity of an endpoint of a cluster, or of a client that is in none.
    pub(crate) fn new(cluster: Option<Arc<str>>, name: Arc<str>) -> Self {
        Self {
            cluster,
            name,
            url: None,
        }
    }

    /// Sets the URL that the endpoint is reached by, which may differ from its name.
    pub(crate) fn at(mut self, url: Option<Arc<str>>) -> Self {
        self.url = url;
        self
    }

    /// Returns the name of its cluster.
    pub(crate) fn cluster(&self) -> Option<&Arc<str>> {
        self.cluster.as_ref()
    }

    /// Returns the endpoint's own name, unique within its cluster.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the URL that it is reached by, if that is known.
    pub(crate) fn url(&self) -> Option<&Arc<str>> {
        self.url.as_ref()
    }
}
