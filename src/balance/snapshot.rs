//! The members of a cluster at one moment.
//!
//! Picks work on a snapshot, changes on the [`Members`](super::members::Members) it was made of. So neither waits for
//! the other, and a pick sees one consistent set from beginning to end.

use std::sync::Arc;

use super::policy::{Affinity, Endpoints, PickInfo, Picked, Picker};
use crate::endpoint::{Endpoint, Rank, Siblings};

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

/// For how long a probe that is due waits for a request that could be sent again if the probe fails, in microseconds.
const WAIT_FOR_REPEATABLE: u64 = 1_000_000;

/// For how long it waits for a request of a client that is not bound to another endpoint, in microseconds. That client
/// loses its session, but an endpoint must not stay away for good where all clients are bound.
const WAIT_FOR_UNBOUND: u64 = 10_000_000;

/// After what time another request may be a probe, if one was fit for none that is due, in microseconds.
const LOOK_AGAIN: u64 = 10_000;

impl<S> Snapshot<S> {
    /// Picks an endpoint for a request, and counts the request there.
    ///
    /// `repeatable` is whether the request can be sent to another endpoint if this one fails.
    ///
    /// Returns `None` if every active member that may be picked is among those `tried`, or if there is none. The
    /// endpoint may have left the cluster since this snapshot was taken, or have no room for the request:
    /// [`Cluster::pick`](super::cluster::Cluster::pick) checks that.
    pub(super) fn pick(
        &self,
        tried: &[Arc<Endpoint<S>>],
        affinity: Affinity,
        repeatable: bool,
    ) -> Option<Picked<S>> {
        // Ranks and costs are as of the last tick, so it comes before the pick.
        self.siblings.tick(&self.active);
        let info = PickInfo { tried, affinity };
        self.probe(&info, repeatable)
            .or_else(|| self.picker.pick(&self.active, &info))
            .or_else(|| self.pick_untried(&info))
    }

    /// Picks an endpoint that is ejected or in doubt and is to be tried again, if one is and if the request is fit for
    /// that.
    ///
    /// A probe is a request like any other, so that an endpoint comes back by what it has to do anyway. If possible, it
    /// is one that does no harm when it fails: one that can be sent again, and that does not belong elsewhere. An
    /// endpoint in doubt is not tried with any other request.
    fn probe(&self, info: &PickInfo<'_, S>, repeatable: bool) -> Option<Picked<S>> {
        let siblings = &self.siblings;
        if !siblings.is_probe_due() {
            return None;
        }
        let overdue = siblings.probe_overdue();
        let fit = match info.affinity.bound {
            true => overdue >= WAIT_FOR_UNBOUND,
            false => repeatable || overdue >= WAIT_FOR_REPEATABLE,
        };
        if !fit && !siblings.is_dead() {
            return None;
        }
        let harmless = repeatable && !info.affinity.bound;
        let candidates = self
            .active
            .iter()
            .filter(|endpoint| endpoint.next_probe().is_some());
        let picked = candidates
            .filter(|endpoint| harmless || !endpoint.is_doubted())
            .filter(|endpoint| info.untried(endpoint))
            .find_map(|endpoint| {
                let in_flight = endpoint.start_probe()?;
                let endpoint = endpoint.clone();
                Some(Picked {
                    endpoint,
                    in_flight,
                })
            });
        let next = self
            .active
            .iter()
            .filter_map(|endpoint| endpoint.next_probe());
        let next = next.min().unwrap_or(u64::MAX);
        siblings.set_probe_due(match picked {
            Some(_) => next,
            // Not fit for any that is due. To look at all of them for each such request would be too slow.
            None => next.max(siblings.now() + LOOK_AGAIN),
        });
        picked
    }

    /// Picks the untried endpoint with the fewest requests in flight, whatever the policy says, of those that may be
    /// used at all.
    ///
    /// A picker may look at ranks more than once, and find nothing the second time because the only usable endpoint has
    /// just ceased to be one. A request must not fail for that while there are endpoints.
    fn pick_untried(&self, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let untried = self
            .active
            .iter()
            .filter(|endpoint| info.untried(endpoint) && endpoint.rank() != Rank::Closed);
        untried
            .min_by_key(|endpoint| endpoint.load().in_flight())
            .map(Picked::start)
    }
}
