//! Changes to a cluster while it serves.

use std::{fmt, sync::Arc};

use super::cluster::Cluster;
use crate::{
    endpoint::{Availability, Endpoint, EndpointSpec, Load},
    error::Error,
    upstream::Client,
};

/// Inserts, removes, replaces and reweights endpoints at run time. Clones change the same cluster.
pub struct Handle<S = Client> {
    cluster: Arc<Cluster<S>>,
}

impl Handle {
    /// Adds an endpoint at a URL, reached by a client with the settings that the [builder] of the cluster was given.
    /// One of the same name is replaced, and drains. [`EndpointSpec::url`] says what a URL may look like.
    ///
    /// [builder]: crate::balance::LoadBalanceBuilder::client
    ///
    /// # Errors
    ///
    /// A config error that says what is wrong with the URL or the weight.
    pub fn insert_url(&self, url: &str) -> Result<Option<Draining>, Error> {
        let spec = EndpointSpec::url_with(self.cluster.client(), url)?;
        Ok(self.insert(spec))
    }
}

impl<S: Send + Sync + 'static> Handle<S> {
    /// Adds an endpoint. One of the same name is replaced, and drains.
    pub fn insert(&self, spec: EndpointSpec<S>) -> Option<Draining> {
        self.cluster.insert(spec).map(|gone| Draining::new(&gone))
    }

    /// Removes an endpoint by its name, or by the URL it was inserted with. Returns `None` if no such endpoint exists.
    ///
    /// When it returns, no new request goes there. Those in flight finish; [`Draining`] tells when.
    #[allow(
        clippy::must_use_candidate,
        reason = "the endpoint drains whether anyone watches or not"
    )]
    pub fn remove(&self, name: &str) -> Option<Draining> {
        self.cluster.remove(name).map(|gone| Draining::new(&gone))
    }

    /// Makes the set be exactly `specs`, in one step, and gives back those that left. Of several with one name, the
    /// last counts.
    ///
    /// An endpoint whose name stays keeps its service, connections included, and takes the new weight, priority and
    /// measure. To change the service behind a name, [`insert`](Self::insert) it.
    pub fn replace(&self, specs: impl IntoIterator<Item = EndpointSpec<S>>) -> Vec<Draining> {
        let left = self.cluster.replace(specs.into_iter().collect());
        left.iter().map(Draining::new).collect()
    }

    /// Gives an endpoint another weight, by its name or by the URL it was inserted with. Returns the weight it had, or
    /// `None` if no such endpoint exists.
    ///
    /// 0 stops new requests, whatever the policy: also those of clients that a [`Sticky`](super::policy::Sticky) cookie
    /// binds to it, and retries. Those in flight finish. The endpoint stays in the cluster and in
    /// [`endpoints`](Self::endpoints), keeps its connections and what is known of it, and gets requests again with the
    /// next weight above 0. It does not count in its tier, nor in a [subset]. If all have 0, requests fail as in an
    /// empty cluster.
    ///
    /// A later [`insert`](Self::insert) or [`replace`](Self::replace) of the name, or discovery that tells of it again,
    /// sets the weight anew.
    ///
    /// [subset]: crate::balance::LoadBalanceBuilder::subset
    #[allow(
        clippy::must_use_candidate,
        reason = "the weight before is of interest to few"
    )]
    pub fn set_weight(&self, name: &str, weight: u32) -> Option<u32> {
        self.cluster.set_weight(name, weight)
    }
}

impl<S> Handle<S> {
    pub(super) fn new(cluster: Arc<Cluster<S>>) -> Self {
        Self { cluster }
    }

    /// The endpoints as they are now, in the order of their insertion.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        let snapshot = self.cluster.snapshot();
        let all = snapshot.all.iter();
        all.map(|endpoint| EndpointStatus::of(endpoint)).collect()
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
    /// Its weight; 0 if it gets no new requests.
    pub weight: u32,
    /// Whether it may be given requests, and if not, why and until when.
    pub availability: Availability,
    /// Requests sent whose response has not ended.
    pub in_flight: usize,
}

impl EndpointStatus {
    fn of<S>(endpoint: &Endpoint<S>) -> Self {
        let availability = endpoint.availability();
        Self {
            name: endpoint.name().clone(),
            weight: match availability {
                Availability::Draining => 0,
                _ => endpoint.weight(),
            },
            availability,
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
