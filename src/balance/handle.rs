//! Changes to a cluster while it serves.

use std::{fmt, sync::Arc};

use super::cluster::Cluster;
use crate::{
    endpoint::{Endpoint, EndpointSpec, Load},
    upstream::Client,
};

/// Inserts, removes and replaces endpoints at run time. Clones change the same cluster.
pub struct Handle<S = Client> {
    cluster: Arc<Cluster<S>>,
}

impl<S> Handle<S> {
    pub(super) fn new(cluster: Arc<Cluster<S>>) -> Self {
        Self { cluster }
    }

    /// Adds an endpoint. One of the same name is replaced, and drains.
    pub fn insert(&self, spec: EndpointSpec<S>) -> Option<Draining> {
        self.cluster.insert(spec).map(|gone| Draining::new(&gone))
    }

    /// Removes an endpoint by its name, or by the URL it was inserted with; none if there is no such.
    ///
    /// When it returns, no new request goes there. Those in flight finish; [`Draining`] tells when.
    #[allow(
        clippy::must_use_candidate,
        reason = "the endpoint drains whether anyone watches or not"
    )]
    pub fn remove(&self, name: &str) -> Option<Draining> {
        self.cluster.remove(name).map(|gone| Draining::new(&gone))
    }

    /// Makes the set be exactly `specs`, in one step, and gives back those that left.
    ///
    /// An endpoint whose name stays keeps its service, connections included, and takes the new weight. To change the
    /// service behind a name, [`insert`](Self::insert) it.
    pub fn replace(&self, specs: impl IntoIterator<Item = EndpointSpec<S>>) -> Vec<Draining>
    where
        S: Clone,
    {
        self.cluster
            .replace(specs.into_iter().collect())
            .iter()
            .map(Draining::new)
            .collect()
    }

    /// The endpoints as they are now, in the order of their insertion.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        self.cluster.members(|all| {
            all.iter()
                .map(|endpoint| EndpointStatus::of(endpoint))
                .collect()
        })
    }
}

impl<S> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
        }
    }
}

impl<S> fmt::Debug for Handle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("endpoints", &self.endpoints())
            .finish()
    }
}

/// An endpoint at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// Its URL, or the name it was given.
    pub name: Arc<str>,
    /// Its weight.
    pub weight: u32,
    /// Requests sent whose response has not ended.
    pub in_flight: usize,
}

impl EndpointStatus {
    fn of<S>(endpoint: &Endpoint<S>) -> Self {
        Self {
            name: endpoint.name().clone(),
            weight: endpoint.weight(),
            in_flight: endpoint.load().in_flight(),
        }
    }
}

/// An endpoint that has been removed, while its last requests finish.
///
/// Dropping it changes nothing: they finish all the same.
#[derive(Debug)]
pub struct Draining {
    name: Arc<str>,
    load: Arc<Load>,
}

impl Draining {
    fn new<S>(endpoint: &Arc<Endpoint<S>>) -> Self {
        // The load alone, so that waiting does not keep the connections open.
        Self {
            name: endpoint.name().clone(),
            load: endpoint.load().clone(),
        }
    }

    /// The name it had.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Requests whose response has not ended.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.load.in_flight()
    }

    /// Returns when the last request has ended: its body was sent, or given up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn finished(&self) {
        self.load.idle().await;
    }
}
