//! What every policy picks by: the [`Picker`] trait, what it is told, and what it gives.

use std::sync::Arc;

use crate::endpoint::{Endpoint, InFlight, Measure, Rank};

pub(in crate::balance) type Endpoints<S> = [Arc<Endpoint<S>>];

/// A policy at work over one set of endpoints.
///
/// The service and the measure of an endpoint are the user's code, which may look at the cluster and change it. A
/// picker holds no lock while it reads a measure, and gives up no endpoint under one unless the cluster still has it.
pub(in crate::balance) trait Picker<S>: Send + Sync {
    /// The picker over a changed set, which knows what this one knows. This one is still asked for picks meanwhile, and
    /// for some that began before.
    fn updated(self: Arc<Self>, members: &Arc<Endpoints<S>>) -> Arc<dyn Picker<S>>;

    /// Picks an endpoint for a request, and counts it there. Returns `None` if all were tried.
    ///
    /// `members` are those it was made for.
    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>>;
}

/// What is known of the request that an endpoint is picked for.
pub(in crate::balance) struct PickInfo<'a, S> {
    /// Endpoints it has been to.
    pub(in crate::balance) tried: &'a Endpoints<S>,
    pub(in crate::balance) affinity: Affinity,
}

impl<S> PickInfo<'_, S> {
    pub(super) fn untried(&self, endpoint: &Arc<Endpoint<S>>) -> bool {
        !self.tried.iter().any(|tried| tried.is(endpoint))
    }

    /// The members worth a pick: untried ones that are ready; failing that, all that are untried.
    pub(super) fn candidates<'m>(
        &self,
        members: &'m Endpoints<S>,
    ) -> impl Iterator<Item = (usize, &'m Arc<Endpoint<S>>)> {
        let ready =
            |endpoint: &Arc<Endpoint<S>>| self.untried(endpoint) && endpoint.rank() == Rank::Usable;
        let any_ready = members.iter().any(ready);
        let fits = move |endpoint: &Arc<Endpoint<S>>| match any_ready {
            true => ready(endpoint),
            false => self.untried(endpoint),
        };
        members
            .iter()
            .enumerate()
            .filter(move |(_, endpoint)| fits(endpoint))
    }
}

/// What a request says about where it belongs.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::balance) struct Affinity {
    /// The same for all that belong together.
    pub(super) key: Option<u128>,
    /// It came to us by TLS.
    pub(super) secure: bool,
}

/// The endpoint for one request, already counted there.
pub(in crate::balance) struct Picked<S> {
    pub(in crate::balance) endpoint: Arc<Endpoint<S>>,
    pub(in crate::balance) in_flight: InFlight,
}

impl<S> Picked<S> {
    pub(super) fn start(endpoint: &Arc<Endpoint<S>>) -> Self {
        Self {
            endpoint: endpoint.clone(),
            in_flight: endpoint.start(),
        }
    }
}

/// The one where a request costs least; of equals, the first.
pub(super) fn cheapest<'m, S: 'm>(
    endpoints: impl Iterator<Item = &'m Arc<Endpoint<S>>>,
    measure: Measure,
) -> Option<&'m Arc<Endpoint<S>>> {
    let costs = endpoints.map(|endpoint| (endpoint, endpoint.cost(measure)));
    costs
        .min_by(|(_, a), (_, b)| a.compare(b))
        .map(|(endpoint, _)| endpoint)
}
