//! [`Plan`]: a configuration that was checked as a whole, and can be built.
//!
//! A plan has made everything that may be refused: builders with all their settings, files that were read, patterns of
//! paths, the table of routes. It has begun nothing: no task, no connection. So a plan is also how a configuration is
//! checked without being built, and how two of them are compared.
//!
//! Each file here checks what one file of `data/` can say. `place` is what they have in common: a setting, by its path,
//! at which problems are noted.

mod answer;
mod client;
mod cluster;
mod discover;
mod endpoints;
mod failures;
mod fields;
mod place;
mod policy;
mod route;
#[cfg(feature = "_tls")]
mod tls;

use std::collections::BTreeMap;

use self::place::SettingPlace;
pub(super) use self::{
    answer::{FixedAnswer, RedirectAnswer},
    cluster::ClusterPlan,
    endpoints::PlannedEndpoint,
    place::PlanContext,
    route::{PlannedAction, RoutePlan},
};
use super::{
    data::{ClusterConfig, Inherit, MatchConfig, RouteConfig, Switch},
    document::expected,
    routing::{RouteKey, RouteTable},
};
use crate::proxy::ReverseProxy;

/// What is to be checked.
pub(super) struct Unchecked<'c> {
    pub(super) cluster_defaults: &'c ClusterConfig,
    pub(super) route_defaults: &'c RouteConfig,
    pub(super) clusters: &'c BTreeMap<String, ClusterConfig>,
    pub(super) routes: &'c BTreeMap<String, RouteConfig>,
    /// Whether there would be a cluster of a name, if what was said of it could be used.
    pub(super) is_cluster: &'c dyn Fn(&str) -> bool,
}

/// A configuration that was checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) clusters: BTreeMap<String, ClusterPlan>,
    pub(super) routes: Vec<RoutePlan>,
    pub(super) table: RouteTable,
}

impl Plan {
    /// Checks a configuration, and notes in `checked` what is wrong with it. The plan is complete only if nothing is.
    ///
    /// `base` is the proxy that all proxies are made of.
    pub(super) fn new(
        config: &Unchecked<'_>,
        base: &ReverseProxy<()>,
        checked: &PlanContext,
    ) -> Self {
        let top = checked.top();
        defaults(config, base, &top.key("defaults"));
        let clusters = config.clusters.iter().filter_map(|(name, cluster)| {
            let cluster = with_defaults(cluster, config.cluster_defaults);
            let plan = ClusterPlan::new(name, cluster, &top.key("clusters").key(name));
            Some((name.clone(), plan?))
        });
        let clusters = clusters.collect();
        let in_routes = top.key("routes");
        let mut routes = Vec::new();
        for (name, route) in config.routes {
            let mut route = route.clone();
            route.inherit(config.route_defaults);
            let at = in_routes.key(name);
            cluster_exists(&route, config, &at);
            let problems = checked.count();
            let plan = RoutePlan::new(name, &route, base, &at);
            // Without a condition that is wrong, it may seem to be equal to another one.
            routes.extend(plan.filter(|_| checked.count() == problems));
        }
        let table = table(&routes, &in_routes);
        Self {
            clusters,
            routes,
            table,
        }
    }
}

/// Puts the routes into a table, and notes those that cannot be told apart.
fn table(routes: &[RoutePlan], at: &SettingPlace<'_>) -> RouteTable {
    let keys: Vec<RouteKey> = routes.iter().map(|route| route.key.clone()).collect();
    RouteTable::new(&keys).unwrap_or_else(|conflicts| {
        let name = |nth: usize| routes.get(nth).map_or("", |route| &route.name);
        for conflict in conflicts {
            let (first, second) = (name(conflict.first), name(conflict.second));
            at.key(second).key("match").refuse_beside(
                "this route matches some of the requests of",
                at.key(first).path(),
                ", and neither is more specific: give one of them another host or path, or more conditions",
            );
        }
        RouteTable::default()
    })
}

/// Returns the settings of a cluster with the defaults applied.
fn with_defaults(cluster: &ClusterConfig, defaults: &ClusterConfig) -> ClusterConfig {
    let mut all = cluster.clone();
    all.inherit(defaults);
    // Defaults of checks need not say what is checked. Without that, they are for the clusters that do.
    if cluster.health_check.is_none() && !says_what_is_checked(defaults) {
        all.health_check = None;
    }
    all
}

/// Returns whether the defaults are those of a check that can be made.
fn says_what_is_checked(defaults: &ClusterConfig) -> bool {
    match &defaults.health_check {
        Some(Switch::On(check)) => check.has_kind(),
        Some(Switch::Off) | None => true,
    }
}

/// Checks the defaults: each as if there were a cluster or a route that says nothing else, and that they have nothing
/// that makes no default.
fn defaults(config: &Unchecked<'_>, base: &ReverseProxy<()>, at: &SettingPlace<'_>) {
    let cluster = config.cluster_defaults;
    let route = config.route_defaults;
    let wrong = [
        ("cluster", "endpoints", cluster.endpoints.is_some()),
        ("cluster", "discover", cluster.discover.is_some()),
        ("route", "match", route.matching != Default::default()),
        ("route", "cluster", route.cluster.is_some()),
        ("route", "respond", route.respond.is_some()),
        ("route", "redirect", route.redirect.is_some()),
    ];
    for (section, key, _) in wrong.into_iter().filter(|(.., is_there)| *is_there) {
        let at = at.key(section).key(key);
        at.refuse(format!(
            "{key:?} cannot be set in the defaults: it belongs to each {section}"
        ));
    }
    let mut some_cluster = with_defaults(&ClusterConfig::default(), cluster);
    some_cluster.endpoints = Some(Vec::new());
    ClusterPlan::new("defaults", some_cluster, &at.key("cluster"));
    let mut some_route = route.clone();
    some_route.matching = MatchConfig::default();
    some_route.cluster = Some(String::new());
    (some_route.respond, some_route.redirect) = (None, None);
    RoutePlan::new("defaults", &some_route, base, &at.key("route"));
}

/// Checks that there is the cluster of a route.
fn cluster_exists(route: &RouteConfig, config: &Unchecked<'_>, at: &SettingPlace<'_>) {
    let Some(cluster) = &route.cluster else {
        return;
    };
    if !(config.is_cluster)(cluster) {
        let names: Vec<&str> = config.clusters.keys().map(String::as_str).collect();
        let expected = expected(cluster, &names);
        at.key("cluster")
            .refuse(format!("there is no cluster {cluster:?}{expected}"));
    }
}
