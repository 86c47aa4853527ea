//! [`RunningCluster`]: a cluster at work, and how it becomes another one.

use std::collections::HashMap;

use super::super::plan::{ClusterPlan, PlannedEndpoint};
use crate::{balance::LoadBalance, error::Error};

/// A cluster at work, with the plan that it follows.
pub(super) struct RunningCluster {
    plan: ClusterPlan,
    balance: LoadBalance,
    /// What is to change at its endpoints.
    changes: Vec<EndpointChange>,
}

/// A change of one endpoint.
#[derive(Debug)]
enum EndpointChange {
    Insert(PlannedEndpoint),
    /// Only the weight is another.
    Weight(String, u32),
    /// The weight and the priority are others, or the priority alone.
    Settings(PlannedEndpoint),
    Remove(String),
}

impl RunningCluster {
    /// Takes over the cluster that was there before, if it may stay, or builds one. What is to change at the endpoints
    /// of one that stays is left to [`settle`](Self::settle).
    ///
    /// # Errors
    ///
    /// It cannot be built.
    pub(super) fn new(plan: ClusterPlan, before: Option<&Self>) -> Result<Self, Error> {
        if let Some(before) = before.filter(|before| before.plan.is_like(&plan)) {
            return Ok(Self {
                changes: changes(&before.plan.endpoints, &plan.endpoints),
                balance: before.balance.clone(),
                plan,
            });
        }
        let balance = plan.build()?;
        if let Some(before) = before {
            balance.handle().succeed(&before.balance.handle());
        }
        Ok(Self {
            balance,
            changes: Vec::new(),
            plan,
        })
    }

    /// Makes the changes of the endpoints: first what comes, then what goes, so that the cluster is never empty in
    /// between.
    pub(super) fn settle(&mut self) {
        let handle = self.balance.handle();
        for change in self.changes.drain(..) {
            match change {
                EndpointChange::Insert(endpoint) => {
                    let name = endpoint.spec.name().to_owned();
                    handle.insert(endpoint.spec);
                    if endpoint.weight == 0 {
                        handle.set_weight(&name, 0);
                    }
                }
                EndpointChange::Weight(name, weight) => {
                    handle.set_weight(&name, weight);
                }
                EndpointChange::Settings(endpoint) => {
                    let name = endpoint.spec.name().to_owned();
                    handle.insert(endpoint.spec.keeping_service());
                    if endpoint.weight == 0 {
                        handle.set_weight(&name, 0);
                    }
                }
                EndpointChange::Remove(name) => {
                    handle.remove(&name);
                }
            }
        }
    }

    pub(super) fn balance(&self) -> LoadBalance {
        self.balance.clone()
    }
}

/// Returns what differs. An endpoint in which nothing differs is not touched, so that one which was drained by hand
/// stays so.
fn changes(before: &[PlannedEndpoint], after: &[PlannedEndpoint]) -> Vec<EndpointChange> {
    let old: HashMap<_, _> = before.iter().map(|old| (old.spec.name(), old)).collect();
    let change = |new: &PlannedEndpoint| match old.get(new.spec.name()) {
        Some(old) if old.url != new.url => Some(EndpointChange::Insert(new.clone())),
        Some(old) if old.priority != new.priority => Some(EndpointChange::Settings(new.clone())),
        Some(old) if old.weight != new.weight => Some(EndpointChange::Weight(
            new.spec.name().to_owned(),
            new.weight,
        )),
        Some(_) => None,
        None => Some(EndpointChange::Insert(new.clone())),
    };
    let stays = |old: &&PlannedEndpoint| after.iter().any(|new| new.spec.name() == old.spec.name());
    let gone = before.iter().filter(|old| !stays(old));
    let gone = gone.map(|old| EndpointChange::Remove(old.spec.name().to_owned()));
    after.iter().filter_map(change).chain(gone).collect()
}
