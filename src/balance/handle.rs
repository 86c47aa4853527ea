//! [`Handle`]: changes to a cluster while it serves requests.
//!
//! Each method is one step: a pick sees the set before or after it, and no set in between. Every pick that begins
//! after a method has returned sees the change. Endpoints that leave *drain*: they get no new requests, and those in
//! flight finish. [`Draining`] tells when that has happened; only [`Handle::drain`] cuts them short.
//!
//! No method waits for requests or does any I/O. They block for as long as another change of the same cluster takes,
//! and may be called from any thread, with or without a runtime, even from the code of an endpoint's own service.
//!
//! A handle and a discovery may change one cluster side by side. The last to change an endpoint wins.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::cluster::Cluster;
use crate::{
    clock::after,
    endpoint::{Availability, Endpoint, EndpointSpec, Load},
    error::Error,
    upstream::Client,
};

/// Inserts, removes, replaces and reweights the endpoints of a cluster at run time.
///
/// It comes from [`LoadBalance::handle`](super::LoadBalance::handle). Clones change the same cluster. A handle keeps
/// the endpoints and their connections, but not the task that follows a discovery: that ends with the last
/// `LoadBalance`.
///
/// ```
/// use axum_upstream::{EndpointSpec, LoadBalance};
///
/// let backends = LoadBalance::new(["http://10.0.0.1", "http://10.0.0.2"])?;
/// let handle = backends.handle();
///
/// // Takes an endpoint out for maintenance, and brings it back.
/// assert_eq!(handle.set_weight("http://10.0.0.1", 0), Some(1));
/// assert_eq!(handle.set_weight("http://10.0.0.1", 1), Some(0));
///
/// // Makes a list the new set. The endpoint in both sets keeps its connections.
/// let left = handle.replace([
///     EndpointSpec::url("http://10.0.0.2")?,
///     EndpointSpec::url("http://10.0.0.3")?,
/// ]);
/// assert_eq!(left[0].name(), "http://10.0.0.1");
/// # Ok::<(), axum_upstream::Error>(())
/// ```
pub struct Handle<S = Client> {
    cluster: Arc<Cluster<S>>,
}

/// A change of one endpoint.
#[cfg(feature = "config")]
pub(crate) enum EndpointChange<S = Client> {
    /// Adds an endpoint, or replaces the one of its name. The weight counts only if it is 0, which no spec can have.
    Insert(EndpointSpec<S>, u32),
    /// Sets the weight of the endpoint of this name.
    SetWeight(String, u32),
    /// Removes the endpoint of this name.
    Remove(String),
}

impl Handle {
    /// Adds an endpoint at a URL, reached by a client with the settings that the [builder] of the cluster was given.
    /// See [`EndpointSpec::url`] for the form of a URL.
    ///
    /// An endpoint of the same name is replaced and drains; it is returned.
    ///
    /// [builder]: crate::balance::LoadBalanceBuilder::client
    ///
    /// # Errors
    ///
    /// A config error that says what is wrong with the URL or the weight. The cluster is unchanged then.
    pub fn insert_url(&self, url: &str) -> Result<Option<Draining>, Error> {
        let spec = EndpointSpec::url_with(self.cluster.client(), url)?;
        Ok(self.insert(spec))
    }
}

#[cfg(feature = "config")]
impl Handle {
    /// Returns the endpoints as they are, with their services and so their connections, for another cluster.
    pub(crate) fn specs(&self) -> Vec<EndpointSpec> {
        let snapshot = self.cluster.snapshot();
        snapshot
            .all
            .iter()
            .map(|endpoint| endpoint.spec())
            .collect()
    }
}

impl<S: Send + Sync + 'static> Handle<S> {
    /// Adds an endpoint. One of the same name is replaced and drains; it is returned.
    ///
    /// The new endpoint takes the position of the replaced one, and starts with its latency estimate. To change only
    /// the weight, use [`set_weight`](Self::set_weight): it keeps the service and its connections.
    pub fn insert(&self, spec: EndpointSpec<S>) -> Option<Draining> {
        self.cluster.insert(spec).map(|gone| Draining::new(&gone))
    }

    /// Removes an endpoint by its name, or by the URL it was inserted with. Returns `None` if no such endpoint exists.
    ///
    /// When this returns, no new request goes to the endpoint. Those in flight finish; [`Draining`] tells when. The
    /// latency estimate is kept for an endpoint of this name that is inserted later.
    #[allow(
        clippy::must_use_candidate,
        reason = "the endpoint drains whether anyone watches or not"
    )]
    pub fn remove(&self, name: &str) -> Option<Draining> {
        self.cluster.remove(name).map(|gone| Draining::new(&gone))
    }

    /// Makes several changes in one step: a pick sees all of them or none.
    #[cfg(feature = "config")]
    pub(crate) fn change(&self, changes: impl IntoIterator<Item = EndpointChange<S>>) {
        self.cluster.change(|members| {
            for change in changes {
                match change {
                    EndpointChange::Insert(spec, weight) => {
                        let name = spec.shared_name();
                        members.insert(spec);
                        if weight == 0 {
                            members.set_weight(&name, 0);
                        }
                    }
                    EndpointChange::SetWeight(name, weight) => {
                        members.set_weight(&name, weight);
                    }
                    EndpointChange::Remove(name) => members.remove(&name),
                }
            }
        });
    }

    /// Takes over from the cluster that this one replaces what its checks have found: an endpoint that works there need
    /// not pass a check before it gets its first request here.
    #[cfg(feature = "config")]
    pub(crate) fn succeed(&self, former: &Self) {
        let known = former.cluster.snapshot();
        for endpoint in self.cluster.snapshot().all.iter() {
            let mut known = known.all.iter();
            let former = known.find(|former| former.name() == endpoint.name());
            let works = former.is_some_and(|former| former.availability().is_well());
            if works && endpoint.availability() == Availability::Unchecked {
                endpoint.load().check_passed();
            }
        }
    }

    /// Takes over from the cluster that this one replaces what is known of its discovery, which is of the same source
    /// and has named the endpoints that are here.
    #[cfg(feature = "config")]
    pub(crate) fn continue_discovery(&self, former: &Self) {
        let known = former.cluster.stats();
        self.cluster.stats().continue_discovery(known);
    }

    /// Makes `specs` the whole set, in one step and in this order. Returns the endpoints that left. Of several specs
    /// with the same name, the last counts.
    ///
    /// An endpoint whose name stays keeps its service, connections included, and takes the new weight, priority and
    /// load measure; the service in the new spec is dropped. To change the service behind a name,
    /// [`insert`](Self::insert) it.
    pub fn replace(&self, specs: impl IntoIterator<Item = EndpointSpec<S>>) -> Vec<Draining> {
        let left = self.cluster.replace(specs.into_iter().collect());
        left.iter().map(Draining::new).collect()
    }

    /// Sets the weight of an endpoint, found by its name or by the URL it was inserted with. Returns the weight it had,
    /// or `None` if no such endpoint exists.
    ///
    /// A weight of 0 stops new requests under every policy, those included that a [`Sticky`](super::policy::Sticky)
    /// cookie binds to the endpoint, and further attempts of requests that failed elsewhere. Requests in flight finish.
    /// The endpoint stays in the cluster and in [`endpoints`](Self::endpoints), keeps its connections and its latency
    /// estimate, and gets requests again with the next weight above 0. Meanwhile it counts neither in its tier nor in a
    /// [subset]. If every endpoint has a weight of 0, requests fail as in an empty cluster.
    ///
    /// A later [`insert`](Self::insert) or [`replace`](Self::replace) of the name, or a discovery that reports it
    /// again, sets the weight that it brings.
    ///
    /// [subset]: crate::balance::LoadBalanceBuilder::subset
    #[allow(
        clippy::must_use_candidate,
        reason = "the weight before is of interest to few"
    )]
    pub fn set_weight(&self, name: &str, weight: u32) -> Option<u32> {
        self.cluster.set_weight(name, weight)
    }

    /// Drains an endpoint, found by its name or by the URL it was inserted with: it gets no new requests, and those in
    /// flight have until `deadline` to finish.
    ///
    /// Completes when none is in flight, the last bytes of all responses have left, and all tunnels are closed; or when
    /// the time is over. What is left is cut off then: a request without a response goes elsewhere if it may be
    /// repeated, and is answered by 503 otherwise, a response breaks off, and a tunnel is closed without a word of this
    /// proxy to either side. Returns how many were cut off, or `None` if no such endpoint exists. `Duration::MAX` waits
    /// without a limit.
    ///
    /// The endpoint stays in the cluster with a weight of 0, as after [`set_weight`](Self::set_weight), until
    /// [`restore`](Self::restore). A [`ResponseBody`](super::ResponseBody) that nothing polls, since the client does
    /// not read, is cut off by its next poll.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the endpoint without new requests, and cuts nothing off.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # async fn maintenance(backends: axum_upstream::LoadBalance) {
    /// let handle = backends.handle();
    /// let cut_off = handle.drain("http://10.0.0.1", Duration::from_secs(30)).await;
    /// // The server can be restarted now.
    /// handle.restore("http://10.0.0.1");
    /// # let _ = cut_off;
    /// # }
    /// ```
    pub async fn drain(&self, name: &str, deadline: Duration) -> Option<usize> {
        let load = self.cluster.park(name)?;
        if timeout_at(after(Instant::now(), deadline), load.idle())
            .await
            .is_ok()
        {
            return Some(0);
        }
        let left = load.in_flight();
        // It may have been restored meanwhile.
        if load.is_draining() {
            load.cut_off();
        }
        Some(left)
    }

    /// Undoes a [`drain`](Self::drain), also one in progress: the endpoint gets requests by the weight that it had.
    /// Returns false if no such endpoint exists.
    #[allow(
        clippy::must_use_candidate,
        reason = "a name that is unknown is of interest to few"
    )]
    pub fn restore(&self, name: &str) -> bool {
        self.cluster.restore(name)
    }
}

impl<S> Handle<S> {
    /// Creates a handle to a cluster.
    pub(super) fn new(cluster: Arc<Cluster<S>>) -> Self {
        Self { cluster }
    }

    /// Returns the cluster.
    #[cfg(feature = "status")]
    pub(super) fn cluster(&self) -> &Arc<Cluster<S>> {
        &self.cluster
    }

    /// Returns the endpoints as they are now, in the order of their insertion, those of weight 0 included.
    ///
    /// Endpoints that were removed and still drain are not among them.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        let snapshot = self.cluster.snapshot();
        // Without a request, a back-off that is over would be reported as one that goes on.
        snapshot.siblings.tick(&snapshot.active);
        let all = snapshot.all.iter();
        all.map(|endpoint| EndpointStatus::of(endpoint)).collect()
    }
}

// Not derived: that would require `S: Clone`.
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

/// An endpoint of a cluster, as [`Handle::endpoints`] found it.
///
/// It is a copy, and does not follow later changes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// The name of the endpoint: its URL, or the name it was given.
    pub name: Arc<str>,
    /// The weight of the endpoint; 0 if it gets no new requests.
    pub weight: u32,
    /// Whether the endpoint may be given requests now, and if not, why and until when.
    pub availability: Availability,
    /// How many requests are in flight: the endpoint was picked for them, and their response bodies have not ended.
    pub in_flight: usize,
}

impl EndpointStatus {
    /// Reads the state of `endpoint`.
    fn of<S>(endpoint: &Endpoint<S>) -> Self {
        let availability = endpoint.availability();
        Self {
            name: endpoint.name().clone(),
            weight: match availability {
                // A member drains only because it was given a weight of 0. The endpoint itself has kept its former one.
                Availability::Draining => 0,
                _ => endpoint.weight(),
            },
            availability,
            in_flight: endpoint.load().in_flight(),
        }
    }
}

/// An endpoint that has left its cluster and drains: it gets no new requests, and those in flight finish.
///
/// Dropping this value has no effect on them. It does not keep the endpoint's connections open.
#[derive(Debug)]
pub struct Draining {
    name: Arc<str>,
    load: Arc<Load>,
}

impl Draining {
    fn new<S>(endpoint: &Arc<Endpoint<S>>) -> Self {
        // Not the endpoint: waiting for it must not keep its service, and with it the connections, alive.
        Self {
            name: endpoint.name().clone(),
            load: endpoint.load().clone(),
        }
    }

    /// Returns the name of the endpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how many requests are still in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.load.in_flight()
    }

    /// Completes when no request is in flight: every response body has ended or was dropped, and every tunnel is
    /// closed.
    ///
    /// There is no time limit. To stop waiting for a response that does not end, put a timeout around this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect; it may be awaited again, and by several tasks.
    pub async fn finished(&self) {
        self.load.idle().await;
    }
}
