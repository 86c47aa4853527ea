//! [`RunningConfig`]: the clusters and routes that serve requests at one time.

use std::{collections::BTreeMap, fmt};

use http::request::Parts;

use super::{
    super::{
        document::{FoundProblem, SettingPath},
        plan::{FixedAnswer, Plan, PlannedAction, RedirectAnswer, RoutePlan},
        routing::{NotTaken, RouteTable},
    },
    clusters::RunningCluster,
};
use crate::{balance::LoadBalance, proxy::ReverseProxy};

/// The clusters and routes that serve requests at one time. It does not change.
pub(super) struct RunningConfig {
    clusters: BTreeMap<String, RunningCluster>,
    table: RouteTable,
    /// By the number of the route.
    routes: Vec<RunningRoute>,
}

/// A route at work.
struct RunningRoute {
    name: String,
    action: RouteAction,
}

/// What is done with a request.
pub(super) enum RouteAction {
    Forward(ReverseProxy<LoadBalance>),
    Respond(FixedAnswer),
    Redirect(RedirectAnswer),
}

impl RunningConfig {
    /// Builds a plan. Clusters of the one `before` that may stay are taken over.
    ///
    /// # Errors
    ///
    /// The clusters that cannot be built. Nothing has changed then.
    pub(super) fn new(plan: Plan, before: Option<&Self>) -> Result<Self, Vec<FoundProblem>> {
        let mut clusters = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, plan) in plan.clusters {
            let same = before.and_then(|before| before.clusters.get(&name));
            match RunningCluster::new(plan, same) {
                Ok(cluster) => {
                    clusters.insert(name, cluster);
                }
                Err(error) => {
                    let path = SettingPath::default().key("clusters").key(&name);
                    problems.push(FoundProblem::new(path, error.refusal().1));
                }
            }
        }
        let mut routes = Vec::new();
        for RoutePlan { name, action, .. } in plan.routes {
            let action = match action {
                PlannedAction::Respond(answer) => RouteAction::Respond(answer),
                PlannedAction::Redirect(answer) => RouteAction::Redirect(answer),
                PlannedAction::Forward(cluster, proxy) => match clusters.get(&cluster) {
                    Some(cluster) => {
                        let cluster: &RunningCluster = cluster;
                        RouteAction::Forward(proxy.to_service(cluster.balance()))
                    }
                    // It could not be built, which is among the problems.
                    None => continue,
                },
            };
            routes.push(RunningRoute { name, action });
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        // Nothing fails any more.
        clusters.values_mut().for_each(RunningCluster::settle);
        Ok(Self {
            table: plan.table,
            clusters,
            routes,
        })
    }

    /// Returns what is done with a request.
    ///
    /// # Errors
    ///
    /// Why no route takes it.
    pub(super) fn find(&self, parts: &Parts) -> Result<&RouteAction, NotTaken> {
        let route = self.table.find(parts)?;
        let route = self.routes.get(route).ok_or(NotTaken::NotFound)?;
        Ok(&route.action)
    }

    pub(super) fn cluster(&self, name: &str) -> Option<LoadBalance> {
        self.clusters.get(name).map(RunningCluster::balance)
    }

    pub(super) fn clusters(&self) -> Vec<LoadBalance> {
        self.clusters
            .values()
            .map(RunningCluster::balance)
            .collect()
    }
}

impl fmt::Debug for RunningConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes: Vec<&str> = self.routes.iter().map(|route| &*route.name).collect();
        f.debug_struct("RunningConfig")
            .field("clusters", &self.clusters.keys().collect::<Vec<_>>())
            .field("routes", &routes)
            .finish()
    }
}
