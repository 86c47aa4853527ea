//! Why a request goes where it goes: a pick that is looked at, and not sent.

use http::Request;

use super::{cluster::Cluster, handle::Handle, policy::PickInfo};
use crate::{
    body::Body,
    endpoint::Endpoint,
    telemetry::{Candidate, Explanation},
};

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

impl<S: Send + Sync + 'static> Cluster<S> {
    fn explain(&self, request: &Request<Body>) -> Explanation {
        let affinity = self.affinity(request);
        let snapshot = self.snapshot();
        snapshot.siblings.tick(&snapshot.active);
        let candidates = snapshot.all.iter().map(|endpoint| candidate(endpoint));
        let mut explanation = Explanation {
            cluster: snapshot.siblings.settings().cluster.clone(),
            policy: self.policy().name(),
            picked: None,
            reason: self.policy().rule(affinity).into(),
            endpoints: candidates.collect(),
        };
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
}

/// Returns what is compared of an endpoint.
fn candidate<S>(endpoint: &Endpoint<S>) -> Candidate {
    let (load, report) = (endpoint.load(), super::status::availability(endpoint));
    Candidate {
        name: endpoint.name().clone(),
        state: report.0,
        cause: report.1,
        cost: endpoint.estimated_cost(),
        in_flight: load.in_flight(),
        latency_estimate: load.latency_estimate(),
    }
}
