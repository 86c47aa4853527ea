//! A cluster for the tests of policies.
//!
//! It has the picker of a policy and a set of endpoints, but no `Cluster` around them: nothing is sent, and the tests
//! say when a request begins and ends.

use std::{collections::VecDeque, sync::Arc};

use http::{HeaderName, Request};

use super::{
    any::Policy,
    picker::{Endpoints, PickInfo, Picked, Picker},
};
use crate::{
    body::Body,
    endpoint::{Endpoint, EndpointSpec, Latency, Siblings},
};

/// A picker over endpoints named `0`, `1`, `2` and so on, with a fixed seed.
pub(super) struct TestCluster {
    pub(super) policy: Policy,
    picker: Arc<dyn Picker<()>>,
    pub(super) members: Arc<Endpoints<()>>,
    siblings: Arc<Siblings>,
}

impl TestCluster {
    /// Makes a cluster with an endpoint for each weight.
    pub(super) fn new(policy: impl Into<Policy>, weights: &[u32]) -> Self {
        let policy = policy.into();
        let picker = policy.picker(fastrand::Rng::with_seed(1));
        let mut cluster = Self {
            policy,
            picker,
            members: Arc::new([]),
            siblings: Arc::default(),
        };
        for weight in weights {
            let spec = EndpointSpec::new(cluster.members.len().to_string(), ());
            cluster.add(spec.weight(*weight).unwrap());
        }
        cluster
    }

    /// Adds an endpoint.
    pub(super) fn add(&mut self, spec: EndpointSpec<()>) {
        let endpoint = Endpoint::new(spec, &self.siblings, Arc::<Latency>::default());
        let mut members = self.members.to_vec();
        members.push(Arc::new(endpoint));
        self.set(members);
    }

    /// Removes the endpoint at a position, and returns it.
    pub(super) fn remove(&mut self, nth: usize) -> Arc<Endpoint<()>> {
        let mut members = self.members.to_vec();
        let gone = members.remove(nth);
        self.set(members);
        gone
    }

    fn set(&mut self, members: Vec<Arc<Endpoint<()>>>) {
        self.members = members.into();
        self.picker = self.picker.clone().updated(&self.members);
    }

    /// Picks for a request.
    pub(super) fn pick_for(
        &self,
        tried: &[Arc<Endpoint<()>>],
        request: &Request<Body>,
    ) -> Option<Picked<()>> {
        self.siblings.tick(&self.members);
        self.picker.pick(
            &self.members,
            &PickInfo {
                tried,
                affinity: self.policy.affinity(request),
            },
        )
    }

    /// Picks for a request that says nothing.
    pub(super) fn pick(&self, tried: &[Arc<Endpoint<()>>]) -> Option<Picked<()>> {
        self.pick_for(tried, &Request::new(Body::empty()))
    }

    /// Returns the names of `n` picks, one at a time, as one string.
    pub(super) fn names(&self, n: usize) -> String {
        (0..n)
            .map(|_| self.pick(&[]).unwrap().endpoint.name().to_string())
            .collect()
    }

    /// Returns the share of each endpoint in 20 000 picks, with twice as many requests in flight as there is weight, so
    /// that the load decides and not the turn.
    pub(super) fn shares(&self) -> Vec<f64> {
        let total: u32 = self.members.iter().map(|member| member.weight()).sum();
        let mut counts = vec![0.0; self.members.len()];
        let mut busy = VecDeque::new();
        for _ in 0..20_000 {
            let picked = self.pick(&[]).unwrap();
            counts[picked.endpoint.name().parse::<usize>().unwrap()] += 1.0 / 20_000.0;
            busy.push_back(picked);
            if busy.len() > 2 * total as usize {
                busy.pop_front();
            }
        }
        counts
    }
}

/// The header field with the key of [`keyed`] requests.
pub(super) const KEY: HeaderName = HeaderName::from_static("x-key");

/// Makes a request with a key.
pub(super) fn keyed(key: usize) -> Request<Body> {
    Request::get("/")
        .header(KEY, key)
        .body(Body::empty())
        .unwrap()
}
