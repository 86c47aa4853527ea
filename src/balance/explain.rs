//! Why a request goes where it goes: what was compared, and a pick that is looked at and not sent.

use std::sync::Arc;

use http::Request;

use super::{
    builder::LoadBalanceBuilder,
    cluster::Cluster,
    handle::Handle,
    policy::{Affinity, PickInfo},
    snapshot::Snapshot,
    status,
};
use crate::{
    body::Body,
    endpoint::Endpoint,
    record::{Candidate, Explanation},
};

impl LoadBalanceBuilder {
    /// Sets whether each attempt says why it went where it did, by
    /// [`Attempt::explanation`](crate::Attempt::explanation): what was compared, and what was left out. Default: false.
    ///
    /// It makes a list of all endpoints for each pick, so it is for debugging, and for clusters of some dozens.
    #[must_use]
    pub fn explain(mut self, explains: bool) -> Self {
        self.explains = explains;
        self
    }
}

impl<S: Send + Sync + 'static> Handle<S> {
    /// Returns where a request like this one would go now, and why: a dry run, in which nothing is sent.
    ///
    /// What random draws decide may be different for the next request. The dry run takes a turn, as a request does that
    /// is cancelled at once, and is never the probe of an endpoint that is ejected.
    #[must_use]
    pub fn explain(&self, request: &Request<Body>) -> Explanation {
        self.cluster().explain(request)
    }
}

impl<S> Cluster<S> {
    /// Returns where a request would go.
    fn explain(&self, request: &Request<Body>) -> Explanation {
        let affinity = self.affinity(request);
        let snapshot = self.snapshot();
        snapshot.siblings.tick(&snapshot.active);
        let mut explanation = self.compared(&snapshot, &[], affinity);
        let info = PickInfo {
            tried: &[],
            affinity,
        };
        match snapshot.picker.pick(&snapshot.active, &info) {
            Some(picked) => explanation.picked = Some(picked.endpoint.name().clone()),
            None => explanation.reason = self.nothing_picked().to_string(),
        }
        explanation
    }

    /// Returns what is compared when an endpoint is picked, as of the last tick.
    pub(super) fn compared(
        &self,
        snapshot: &Snapshot<S>,
        tried: &[Arc<Endpoint<S>>],
        affinity: Affinity,
    ) -> Explanation {
        let candidates = snapshot.all.iter().map(|endpoint| {
            let (state, cause) = status::availability(endpoint);
            Candidate {
                name: endpoint.name().clone(),
                state,
                cause,
                cost: endpoint.estimated_cost(),
                in_flight: endpoint.load().in_flight(),
                tried: tried.iter().any(|tried| tried.is(endpoint)),
                latency_estimate: endpoint.load().latency_estimate(),
            }
        });
        Explanation {
            cluster: snapshot.siblings.settings().cluster.clone(),
            policy: self.policy().name(),
            picked: None,
            reason: self.policy().rule(affinity).into(),
            endpoints: candidates.collect(),
        }
    }
}
