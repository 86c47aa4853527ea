//! The members of a cluster at one moment.
//!
//! Picks work on a snapshot, changes on the [`Members`](super::members::Members) it was made of. So neither waits for
//! the other, and a pick sees one consistent set from beginning to end.

use std::sync::Arc;

use super::policy::{Affinity, Endpoints, PickInfo, Picked, Picker};
use crate::endpoint::{Endpoint, Siblings};

/// The members of a cluster at one moment, and the picker over them.
///
/// It is immutable: a change makes another one. What it refers to is shared, though. The load of an endpoint and the
/// state of a picker go on from one snapshot to the next.
pub(super) struct Snapshot<S> {
    /// All members, in the order of their insertion: what a [`Handle`](super::Handle) lists.
    pub(super) all: Arc<Endpoints<S>>,
    /// The members that may be picked: those of a weight above 0, within the subset if there is one.
    pub(super) active: Arc<Endpoints<S>>,
    /// The policy at work over `active`. One that is shared between snapshots may know of a newer set already.
    pub(super) picker: Arc<dyn Picker<S>>,
    /// What the members know of each other: the clock of a pick, and the median of the latencies.
    pub(super) siblings: Arc<Siblings>,
}

impl<S> Snapshot<S> {
    /// Picks an endpoint for a request, and counts the request there.
    ///
    /// Returns `None` only if every active member is among those `tried`, or if there is none. The endpoint may have
    /// left the cluster since this snapshot was taken; [`Cluster::pick`](super::cluster::Cluster::pick) checks that.
    pub(super) fn pick(&self, tried: &[Arc<Endpoint<S>>], affinity: Affinity) -> Option<Picked<S>> {
        // Ranks and costs are as of the last tick, so it comes before the pick.
        self.siblings.tick(&self.active);
        let info = PickInfo { tried, affinity };
        self.picker
            .pick(&self.active, &info)
            .or_else(|| self.pick_untried(&info))
    }

    /// Picks the untried endpoint with the fewest requests in flight, whatever the policy says.
    ///
    /// A picker may look at ranks more than once, and find nothing the second time because the only usable endpoint has
    /// just ceased to be one. A request must not fail for that while there are endpoints.
    fn pick_untried(&self, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let untried = self.active.iter().filter(|endpoint| info.untried(endpoint));
        untried
            .min_by_key(|endpoint| endpoint.load().in_flight())
            .map(Picked::start)
    }
}
