//! An endpoint in use.

use std::{fmt, num::NonZeroU32, sync::Arc};

use http::{HeaderValue, Request, header};

use super::{Cost, EndpointSpec, InFlight, Load};
use crate::body::Body;

/// A member of a cluster. One per insertion: an endpoint that is replaced under its name is another.
pub(crate) struct Endpoint<S> {
    name: Arc<str>,
    weight: NonZeroU32,
    host: Option<HeaderValue>,
    service: S,
    load: Arc<Load>,
}

impl<S> Endpoint<S> {
    pub(crate) fn new(spec: EndpointSpec<S>) -> Self {
        let EndpointSpec { name, weight, host, service } = spec;
        Self { name, weight, host, service, load: Arc::default() }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn weight(&self) -> u32 {
        self.weight.get()
    }

    pub(crate) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    pub(crate) fn cost(&self) -> Cost {
        self.load.cost(self.weight)
    }

    /// Counts a request; see [`Load::start`].
    pub(crate) fn start(&self, clock: &mut u64) -> InFlight {
        self.load.start(self.weight, clock)
    }
}

impl<S: Clone> Endpoint<S> {
    /// The same server with the weight of `spec`: its service, connections included, and its load go on.
    pub(crate) fn reweighted(&self, spec: &EndpointSpec<S>) -> Self {
        Self {
            name: self.name.clone(),
            weight: spec.weight,
            host: self.host.clone(),
            service: self.service.clone(),
            load: self.load.clone(),
        }
    }

    /// A service to send `request` with, and the request as this endpoint wants it; and whether `Host` was set for it.
    pub(crate) fn prepare(&self, mut request: Request<Body>) -> (S, Request<Body>, bool) {
        request.body().note_endpoint(&self.name);
        let host = self.host.as_ref().filter(|_| !request.headers().contains_key(header::HOST));
        if let Some(host) = host {
            request.headers_mut().insert(header::HOST, host.clone());
        }
        (self.service.clone(), request, host.is_some())
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
