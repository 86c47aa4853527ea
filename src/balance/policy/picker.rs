//! [`Picker`]: the trait of all policies at work, with what a picker is told and what it returns.
//!
//! Two rules hold for every picker, and are easiest to keep by the two helpers here, [`PickInfo::candidates`] and
//! [`cheapest`]: no endpoint that was tried is picked, and one that should be left alone is picked only if no other is
//! left. That a removed endpoint is not picked is not a picker's concern:
//! [`Cluster::pick`](crate::balance::cluster::Cluster::pick) checks it.

use std::sync::Arc;

use crate::endpoint::{Endpoint, InFlight, Measure, Rank};
#[cfg(feature = "status")]
use crate::record::Explanation;

/// The endpoints that a picker picks from, in the order of their insertion.
pub(in crate::balance) type Endpoints<S> = [Arc<Endpoint<S>>];

/// A policy at work over one set of endpoints.
///
/// Several threads pick at the same time. A lock inside of a picker is held for one pick at most.
///
/// The service and the load measure of an endpoint are code of the user, which may read the cluster and change it. A
/// picker therefore holds no lock while it reads a load measure. Nor does it drop an endpoint under a lock, unless the
/// cluster's current or previous snapshot still has that endpoint, since the last drop runs the user's `Drop`.
pub(in crate::balance) trait Picker<S>: Send + Sync {
    /// Returns the picker over a changed set, with the state of this one.
    ///
    /// It is called under the lock of the cluster's members, once per change. Meanwhile, and for picks that have begun
    /// already, this picker is still in use. The result may be this picker itself.
    fn updated(self: Arc<Self>, members: &Arc<Endpoints<S>>) -> Arc<dyn Picker<S>>;

    /// Picks an endpoint for a request, and counts the request there. Returns `None` if all were tried.
    ///
    /// `members` are those of the snapshot that this picker is part of. A picker that is shared by several snapshots
    /// may return an endpoint of a later one.
    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>>;
}

/// What is known of the request that an endpoint is picked for. A picker does not see the request itself.
pub(in crate::balance) struct PickInfo<'a, S> {
    /// The endpoints that were tried already: a few at most, so a search of the slice is cheap.
    pub(in crate::balance) tried: &'a Endpoints<S>,
    /// Where the request belongs, as [`Policy::affinity`](super::Policy::affinity) has read it.
    pub(in crate::balance) affinity: Affinity,
}

impl<S> PickInfo<'_, S> {
    /// Returns whether the request has not tried this server yet, under whatever weight.
    pub(in crate::balance) fn untried(&self, endpoint: &Arc<Endpoint<S>>) -> bool {
        !self.tried.iter().any(|tried| tried.is(endpoint))
    }

    /// Returns the members that the request has not tried and that are not closed, in their order from the one at
    /// `start`, after which come those before it.
    pub(super) fn untried_from<'m>(
        &self,
        members: &'m Endpoints<S>,
        start: usize,
    ) -> impl Iterator<Item = &'m Arc<Endpoint<S>>> {
        let (before, after) = members.split_at(start.min(members.len()));
        let all = after.iter().chain(before);
        all.filter(|endpoint| self.untried(endpoint) && endpoint.rank() != Rank::Closed)
    }

    /// Returns the members that may be picked, with their positions: the untried ones that are usable or, if there are
    /// none, all untried ones that are not closed.
    ///
    /// Looks at each member at most twice.
    pub(super) fn candidates<'m>(
        &self,
        members: &'m Endpoints<S>,
    ) -> impl Iterator<Item = (usize, &'m Arc<Endpoint<S>>)> {
        let ready =
            |endpoint: &Arc<Endpoint<S>>| self.untried(endpoint) && endpoint.rank() == Rank::Usable;
        let any_ready = members.iter().any(ready);
        let fits = move |endpoint: &Arc<Endpoint<S>>| match any_ready {
            true => ready(endpoint),
            false => self.untried(endpoint) && endpoint.rank() != Rank::Closed,
        };
        members
            .iter()
            .enumerate()
            .filter(move |(_, endpoint)| fits(endpoint))
    }
}

/// What a request says about where it belongs. The default is a request that says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::balance) struct Affinity {
    /// The same for all requests that belong together: the hash of a key, or the token in a cookie.
    pub(super) key: Option<u128>,
    /// The key by which the policy beneath a [`Sticky`](super::Sticky) picks for a client without a cookie.
    pub(super) key_beneath: Option<u128>,
    /// Whether the client is bound to one endpoint, so that its requests must not be sent to another one to try that.
    pub(in crate::balance) bound: bool,
    /// Whether the client came by TLS, so that its cookie is marked `Secure`. It takes no part in picks.
    pub(super) secure: bool,
}

/// The endpoint that was picked for a request, which counts there until `in_flight` is dropped.
pub(in crate::balance) struct Picked<S> {
    pub(in crate::balance) endpoint: Arc<Endpoint<S>>,
    pub(in crate::balance) in_flight: InFlight,
}

impl<S> Picked<S> {
    /// Counts a request at `endpoint`, which is thereby picked.
    pub(in crate::balance) fn start(endpoint: &Arc<Endpoint<S>>) -> Self {
        Self {
            endpoint: endpoint.clone(),
            in_flight: endpoint.start(),
        }
    }

    /// Adds what was compared, if that is asked for.
    #[cfg(feature = "status")]
    pub(in crate::balance) fn explained(mut self, compared: Option<Box<Explanation>>) -> Self {
        if let Some(mut compared) = compared {
            compared.picked = Some(self.endpoint.name().clone());
            if self.in_flight.is_probe() {
                compared.reason = "a probe, to see whether it works".into();
            }
            self.in_flight.explain(compared);
        }
        self
    }
}

/// Returns the endpoint where a request costs least, by rank, load and turn; of equals, the first.
///
/// [`Measure::Reported`] runs code of the user, so no lock may be held then. Each cost is computed once, and the result
/// does not change while they are compared. That of the only endpoint is not computed.
pub(super) fn cheapest<'m, S: 'm>(
    mut endpoints: impl Iterator<Item = &'m Arc<Endpoint<S>>>,
    measure: Measure,
) -> Option<&'m Arc<Endpoint<S>>> {
    let first = endpoints.next()?;
    let Some(second) = endpoints.next() else {
        return Some(first);
    };
    let all = [first, second].into_iter().chain(endpoints);
    all.map(|endpoint| (endpoint, endpoint.cost(measure)))
        .min_by(|(_, a), (_, b)| a.compare(b))
        .map(|(endpoint, _)| endpoint)
}
