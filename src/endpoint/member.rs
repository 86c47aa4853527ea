//! An endpoint in use.

use std::{fmt, num::NonZeroU32, sync::Arc};

use super::{
    availability::{Availability, Rank},
    cost::Cost,
    in_flight::InFlight,
    latency::Latency,
    load::Load,
    siblings::Siblings,
    spec::{EndpointSpec, Metric},
};

/// What a cost is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Requests in flight and how long each takes.
    Latency,
    /// Requests in flight.
    InFlight,
    /// What the endpoint's own metric says; requests in flight where it has none.
    Reported,
}

/// A member of a cluster. One per insertion: an endpoint that is replaced under its name is another.
pub(crate) struct Endpoint<S> {
    name: Arc<str>,
    weight: NonZeroU32,
    priority: u8,
    metric: Option<Metric>,
    /// Shared, so that the same server with another weight takes no clone, which is the user's code.
    service: Arc<S>,
    load: Arc<Load>,
}

impl<S> Endpoint<S> {
    /// `latency` is what is remembered of one of this name that was here before.
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
            service,
            ..
        } = spec;
        let load = Arc::new(Load::new(siblings.clone(), latency));
        Self {
            name,
            weight,
            priority,
            metric,
            service: Arc::new(service),
            load,
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn weight(&self) -> u32 {
        self.weight.get()
    }

    /// Which tier it is in: 0 is asked first.
    pub(crate) fn priority(&self) -> u8 {
        self.priority
    }

    pub(crate) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// What a request would cost here, as of the last [tick](Siblings::tick).
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

    /// Whether it may be given requests, as of the last [tick](Siblings::tick).
    pub(crate) fn availability(&self) -> Availability {
        self.load.availability()
    }

    /// How it ranks among its siblings, as of the last [tick](Siblings::tick).
    pub(crate) fn rank(&self) -> Rank {
        self.load.rank()
    }

    /// Counts a request.
    pub(crate) fn start(&self) -> InFlight {
        InFlight::new(self.load.clone(), self.load.start(self.weight))
    }

    /// The same server with another weight: its service, connections included, and load go on.
    pub(crate) fn with_weight(&self, weight: NonZeroU32) -> Self {
        Self {
            name: self.name.clone(),
            weight,
            priority: self.priority,
            metric: self.metric.clone(),
            service: self.service.clone(),
            load: self.load.clone(),
        }
    }

    /// The same server with the weight, priority and measure of `spec`.
    pub(crate) fn reconfigured(&self, spec: &EndpointSpec<S>) -> Self {
        Self {
            priority: spec.priority,
            metric: spec.metric.clone(),
            ..self.with_weight(spec.weight)
        }
    }

    /// Whether it has the weight, priority and measure of `spec` already.
    pub(crate) fn is_configured_as(&self, spec: &EndpointSpec<S>) -> bool {
        let same_metric = match (&self.metric, &spec.metric) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        };
        (self.weight, self.priority) == (spec.weight, spec.priority) && same_metric
    }

    /// Whether both are the same server, whatever their weights.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.load, &other.load)
    }
}

impl<S: Clone> Endpoint<S> {
    /// Returns a service to send a request with.
    pub(crate) fn service(&self) -> S {
        S::clone(&self.service)
    }
}

impl<S> fmt::Debug for Endpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("weight", &self.weight)
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}
