//! [`Config`]: everything that is configured, as data; and how it is read, checked and built.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    data::{ClusterConfig, RouteConfig},
    document::{Document, FoundProblem, SettingPath},
    error::ConfigError,
    plan::{Plan, PlanContext, Unchecked},
};
use crate::proxy::ReverseProxy;

/// Clusters and routes, as data.
///
/// It comes from a file ([`from_file`](Self::from_file)) or a text in TOML ([`from_toml`](Self::from_toml), `parse()`),
/// or is made in code, and becomes a `Router` ([`build`](Self::build)). See the [module docs](super) for what can be
/// said, and [`LiveConfig`](super::LiveConfig) for changes while requests are served.
///
/// ```
/// use axum_upstream::config::{ClusterConfig, Config, RouteConfig};
///
/// let mut config = Config::default();
/// let mut api = ClusterConfig::default();
/// api.endpoints = Some(vec!["http://127.0.0.1:5000".into(), "http://127.0.0.1:5001;weight=2".into()]);
/// config.clusters.insert("api".into(), api);
/// let mut route = RouteConfig::default();
/// route.matching.path_prefix = vec!["/api".into()];
/// route.cluster = Some("api".into());
/// config.routes.insert("api".into(), route);
/// let router: axum::Router = config.build()?;
/// # Ok::<(), axum_upstream::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Settings for where a cluster or a route says nothing.
    pub defaults: DefaultsConfig,
    /// The clusters, by name.
    pub clusters: BTreeMap<String, ClusterConfig>,
    /// The routes, by name. Their order does not matter: the most specific route that takes a request gets it.
    pub routes: BTreeMap<String, RouteConfig>,
    /// The text that it was made from, where problems are looked up.
    #[serde(skip)]
    #[schemars(skip)]
    document: Option<Arc<Document>>,
}

/// Settings for where a cluster or a route says nothing.
///
/// Tables are merged setting by setting: a cluster that sets `retry.attempts` still has the `retry.budget` of the
/// defaults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DefaultsConfig {
    /// For all clusters.
    pub cluster: ClusterConfig,
    /// For all routes.
    pub route: RouteConfig,
}

impl Config {
    /// The keys at the top.
    pub(super) const KEYS: [&'static str; 3] = ["defaults", "clusters", "routes"];

    /// Checks everything, as [`build`](Self::build) does, and builds nothing. It reads the files that are named.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, by path of the setting, and by line if it was read from a text.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.plan(&ReverseProxy::new(())).map(drop)
    }

    /// Checks everything, and returns what can be built.
    pub(super) fn plan(&self, base: &ReverseProxy<()>) -> Result<Plan, ConfigError> {
        let (plan, problems) = self.planned(base);
        match problems.is_empty() {
            true => Ok(plan),
            false => Err(self.error(problems)),
        }
    }

    /// Checks everything, and returns what is wrong beside what can be built.
    pub(super) fn planned(&self, base: &ReverseProxy<()>) -> (Plan, Vec<FoundProblem>) {
        let file = self.document.as_ref().and_then(|document| document.file());
        let folder = file.and_then(Path::parent).map(Path::to_owned);
        let checked = PlanContext::new(folder.unwrap_or_default());
        let is_cluster = |name: &str| {
            let in_document = |document: &Arc<Document>| {
                document.contains(&SettingPath::default().key("clusters").key(name))
            };
            self.clusters.contains_key(name) || self.document.as_ref().is_some_and(in_document)
        };
        let unchecked = Unchecked {
            cluster_defaults: &self.defaults.cluster,
            route_defaults: &self.defaults.route,
            clusters: &self.clusters,
            routes: &self.routes,
            is_cluster: &is_cluster,
        };
        let plan = Plan::new(&unchecked, base, &checked);
        (plan, checked.into_problems())
    }

    /// Returns an error of problems, with their places.
    pub(super) fn error(&self, problems: Vec<FoundProblem>) -> ConfigError {
        let located = |found: FoundProblem| match &self.document {
            Some(document) => document.located(found),
            None => found.without_document(),
        };
        ConfigError::new(problems.into_iter().map(located).collect())
    }

    /// Adds the text that it was made from.
    pub(super) fn with_document(mut self, document: Arc<Document>) -> Self {
        self.document = Some(document);
        self
    }
}

/// Two are equal if they say the same, wherever they come from.
impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            defaults,
            clusters,
            routes,
            document: _,
        } = self;
        *defaults == other.defaults && *clusters == other.clusters && *routes == other.routes
    }
}
