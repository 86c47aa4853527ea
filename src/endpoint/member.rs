//! An endpoint in use, as a member of a cluster.
//!
//! An [`EndpointSpec`] is what the user describes; an [`Endpoint`] is what the cluster made of it, with the load that
//! it observes. It is shared by `Arc` in snapshots, pickers and requests, and immutable: a change of its weight makes
//! another `Endpoint`, which shares the service and the load.

use std::{fmt, num::NonZeroU32, sync::Arc};

use super::{
    availability::{Availability, Rank},
    cost::Cost,
    in_flight::InFlight,
    latency::Latency,
    load::Load,
    siblings::{Micros, Siblings},
    spec::{EndpointSpec, Metric},
};
#[cfg(feature = "status")]
use crate::telemetry::PoolReport;
use crate::{health::ConnectFuture, record::EndpointId, upstream::Client};

/// What a [`Cost`] is measured by. A policy chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// By requests in flight and the time that each one takes.
    Latency,
    /// By requests in flight.
    InFlight,
    /// By the endpoint's own [load measure](EndpointSpec::load), or by requests in flight if it has none.
    Reported,
}

/// A member of a cluster.
///
/// There is one server for each insertion: an endpoint that is replaced under its name is another one. Several
/// `Endpoint`s may be the same server under different settings; [`is`](Self::is) compares that.
pub(crate) struct Endpoint<S> {
    /// What its cost is divided by. Never 0: the cluster keeps an endpoint of weight 0 out of what policies see.
    weight: NonZeroU32,
    priority: u8,
    /// The user's measure of its load, for [`Measure::Reported`].
    metric: Option<Metric>,
    /// The crate's own client, if the service sends by one.
    client: Option<Client>,
    /// Shared, since [`with_weight`](Self::with_weight) runs under a lock, where the service must not be cloned: that
    /// is code of the user.
    service: Arc<S>,
    /// Shared with the guards of its requests, which may outlive the endpoint and must not keep its connections open.
    load: Arc<Load>,
}

impl<S> Endpoint<S> {
    /// Makes an endpoint of a cluster that has these siblings.
    ///
    /// `latency` is the estimate of the last endpoint of this name, or an empty one.
    pub(crate) fn new(
        spec: EndpointSpec<S>,
        siblings: &Arc<Siblings>,
        latency: Arc<Latency>,
    ) -> Self {
        let EndpointSpec {
            name,
            weight,
            priority,
            metric,
            client,
            service,
            ..
        } = spec;
        let cluster = siblings.settings().cluster.clone();
        let url = client.as_ref().map(Client::shared_url);
        let id = Arc::new(EndpointId::new(Some(cluster), name).at(url));
        let load = Arc::new(Load::new(id, siblings.clone(), latency));
        Self {
            weight,
            priority,
            metric,
            client,
            service: Arc::new(service),
            load,
        }
    }

    /// Returns the name, its identity within the cluster.
    pub(crate) fn name(&self) -> &Arc<str> {
        self.id().name()
    }

    /// Returns its name and that of its cluster.
    pub(crate) fn id(&self) -> &Arc<EndpointId> {
        self.load.id()
    }

    /// Returns the weight, at least 1.
    pub(crate) fn weight(&self) -> u32 {
        self.weight.get()
    }

    /// Returns the number of its tier: tier 0 is used first.
    pub(crate) fn priority(&self) -> u8 {
        self.priority
    }

    /// Returns the load, which is shared by all `Endpoint`s that are this server.
    pub(crate) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Begins to make a connection, which is closed when it is made, within the client's connect timeout. Returns
    /// `None` if there is nothing to connect to.
    pub(crate) fn connect(&self) -> Option<ConnectFuture> {
        let client = self.client.clone()?;
        Some(Box::pin(async move { client.check_connect().await }))
    }

    /// Returns how many connections its client has. `None` if it has none of the crate's own.
    #[cfg(feature = "status")]
    pub(crate) fn pool(&self) -> Option<PoolReport> {
        self.client.as_ref().map(Client::pool)
    }

    /// Returns what one more request would cost here, as of the last [tick](Siblings::tick).
    ///
    /// For [`Measure::Reported`], this runs code of the user, so no lock may be held.
    pub(crate) fn cost(&self, measure: Measure) -> Cost {
        match (measure, &self.metric) {
            (Measure::Latency, _) => self.load.cost(self.weight),
            (Measure::Reported, Some(metric)) => {
                self.load.cost_reported(self.weight, metric.load())
            }
            (Measure::InFlight, _) | (Measure::Reported, None) => {
                self.load.cost_in_flight(self.weight)
            }
        }
    }

    /// Returns about how long one more request would take here, in seconds per unit of weight: what the default policy
    /// compares. `None` while nothing is known of the latencies.
    #[cfg(feature = "status")]
    pub(crate) fn estimated_cost(&self) -> Option<f64> {
        self.load.cost_in_seconds(self.weight)
    }

    /// Returns whether it may be given requests, as of the last [tick](Siblings::tick).
    pub(crate) fn availability(&self) -> Availability {
        self.load.availability()
    }

    /// Returns how it ranks among its siblings, as of the last [tick](Siblings::tick).
    pub(crate) fn rank(&self) -> Rank {
        self.load.rank()
    }

    /// Counts a request for which this endpoint was picked, until the guard is dropped.
    ///
    /// Nothing is counted if as many are in flight as there may be; see [`InFlight::is_counted`].
    pub(crate) fn start(&self) -> InFlight {
        InFlight::new(self.load.clone(), self.load.start(self.weight), false)
    }

    /// Counts a request by which this endpoint, which is ejected or in doubt, is tried again. Returns `None` if it is
    /// not to be tried now.
    pub(crate) fn start_probe(&self) -> Option<InFlight> {
        let begun = self.load.begin_probe();
        begun.then(|| InFlight::new(self.load.clone(), self.load.start(self.weight), true))
    }

    /// Returns when a probe may be sent, or `None` if the endpoint is neither ejected nor in doubt.
    pub(crate) fn next_probe(&self) -> Option<Micros> {
        self.load.next_probe()
    }

    /// Returns whether a probe would find out whether the endpoint has to be ejected.
    pub(crate) fn is_doubted(&self) -> bool {
        self.load.is_doubted()
    }

    /// Returns the same server with another weight. It shares the service, and so its connections, and the load.
    pub(crate) fn with_weight(&self, weight: NonZeroU32) -> Self {
        Self {
            weight,
            priority: self.priority,
            metric: self.metric.clone(),
            client: self.client.clone(),
            service: self.service.clone(),
            load: self.load.clone(),
        }
    }

    /// Returns the same server with the weight, priority and load measure of `spec`, whose service is ignored.
    pub(crate) fn reconfigured(&self, spec: &EndpointSpec<S>) -> Self {
        Self {
            priority: spec.priority,
            metric: spec.metric.clone(),
            ..self.with_weight(spec.weight)
        }
    }

    /// Returns whether it has the weight, priority and load measure of `spec` already.
    ///
    /// Load measures are compared by identity, since they are opaque: equal ones that were made twice are different.
    pub(crate) fn is_configured_as(&self, spec: &EndpointSpec<S>) -> bool {
        let same_metric = match (&self.metric, &spec.metric) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        };
        (self.weight, self.priority) == (spec.weight, spec.priority) && same_metric
    }

    /// Returns whether both are the same server, whatever their settings.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.load, &other.load)
    }
}

#[cfg(feature = "config")]
impl Endpoint<Client> {
    /// Describes the same server for another cluster. It shares the service, and so its connections.
    pub(crate) fn spec(&self) -> EndpointSpec {
        let mut spec = EndpointSpec::from(self.service());
        (spec.weight, spec.priority) = (self.weight, self.priority);
        spec
    }
}

impl<S: Clone> Endpoint<S> {
    /// Returns a clone of the service, to send one request with. Runs code of the user.
    pub(crate) fn service(&self) -> S {
        S::clone(&self.service)
    }
}

impl<S> fmt::Debug for Endpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", self.name())
            .field("weight", &self.weight)
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}
