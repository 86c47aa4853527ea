//! A cluster for tests of what is picked.

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

/// A cluster without the way to it.
pub(super) struct TestCluster {
    pub(super) policy: Policy,
    picker: Arc<dyn Picker<()>>,
    pub(super) members: Arc<Endpoints<()>>,
    siblings: Arc<Siblings>,
}

impl TestCluster {
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

    pub(super) fn add(&mut self, spec: EndpointSpec<()>) {
        let endpoint = Endpoint::new(spec, &self.siblings, Arc::<Latency>::default());
        let mut members = self.members.to_vec();
        members.push(Arc::new(endpoint));
        self.set(members);
    }

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

    pub(super) fn pick(&self, tried: &[Arc<Endpoint<()>>]) -> Option<Picked<()>> {
        self.pick_for(tried, &Request::new(Body::empty()))
    }

    /// Names of `n` picks, one at a time, as one string.
    pub(super) fn names(&self, n: usize) -> String {
        (0..n)
            .map(|_| self.pick(&[]).unwrap().endpoint.name().to_string())
            .collect()
    }

    /// How often each was picked of 20 000 times, with twice as many in flight as there is weight, so that load and
    /// not the turn decides.
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

pub(super) const KEY: HeaderName = HeaderName::from_static("x-key");

pub(super) fn keyed(key: usize) -> Request<Body> {
    Request::get("/")
        .header(KEY, key)
        .body(Body::empty())
        .unwrap()
}
