//! [`RunningCluster`]: a cluster at work, and how it becomes another one.

use std::collections::HashMap;

use super::super::plan::{ClusterPlan, PlannedEndpoint};
use crate::{
    balance::{EndpointChange, LoadBalance},
    error::Error,
};

/// A cluster at work, with the plan that it follows.
pub(super) struct RunningCluster {
    plan: ClusterPlan,
    balance: LoadBalance,
    /// What is to change at its endpoints.
    changes: Vec<EndpointChange>,
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
        let former = before.filter(|before| before.plan.shares_endpoints(&plan));
        let specs = former.map(|before| before.balance.handle().specs());
        let balance = plan.build(specs.unwrap_or_default())?;
        if let Some(before) = before {
            balance.handle().succeed(&before.balance.handle());
        }
        if let Some(former) = former {
            balance
                .handle()
                .continue_discovery(&former.balance.handle());
        }
        Ok(Self {
            balance,
            changes: Vec::new(),
            plan,
        })
    }

    /// Makes the changes of the endpoints, in one step.
    pub(super) fn settle(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        if !changes.is_empty() {
            self.balance.handle().change(changes);
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
    let insert = |new: &PlannedEndpoint, spec| EndpointChange::Insert(spec, new.weight);
    let change = |new: &PlannedEndpoint| match old.get(new.spec.name()) {
        Some(old) if old.url != new.url => Some(insert(new, new.spec.clone())),
        Some(old) if old.priority != new.priority => {
            Some(insert(new, new.spec.clone().keeping_service()))
        }
        Some(old) if old.weight != new.weight => Some(EndpointChange::SetWeight(
            new.spec.name().to_owned(),
            new.weight,
        )),
        Some(_) => None,
        None => Some(insert(new, new.spec.clone())),
    };
    let stays = |old: &&PlannedEndpoint| after.iter().any(|new| new.spec.name() == old.spec.name());
    let gone = before.iter().filter(|old| !stays(old));
    let gone = gone.map(|old| EndpointChange::Remove(old.spec.name().to_owned()));
    after.iter().filter_map(change).chain(gone).collect()
}
