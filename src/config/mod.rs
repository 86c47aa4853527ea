//! Clusters and routes by a file in TOML, or as plain data.
//!
//! A [`Config`] becomes a `Router`, so that an application mounts configured routes beside its own, behind its own
//! layers:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use axum_upstream::config::Config;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), axum_upstream::BoxError> {
//! let app: Router = Router::new()
//!     .route("/healthz", get(|| async { "ok" }))
//!     .fallback_service(Config::from_file("proxy.toml")?.build()?);
//! # Ok(())
//! # }
//! ```
//!
//! ```toml
//! [clusters.api]
//! endpoints = ["http://10.0.0.1:8080", "http://10.0.0.2:8080;weight=2"]
//! health_check = { http = "/healthz", interval = "5s" }
//!
//! [routes.api]
//! match = { host = "example.com", path_prefix = "/api" }
//! cluster = "api"
//! strip_prefix = "/api"
//! ```
//!
//! Settings have the names of the methods that they stand for, in [`LoadBalanceBuilder`], [`ClientBuilder`],
//! [`ReverseProxy`], [`Retry`] and so on, where they are documented with their defaults. `false` turns a setting off.
//! `docs/CONFIG.md` has a file with all of them, and `docs/config.schema.json` is the schema by which editors complete
//! one. What takes a closure cannot be said in a file; a [`Config`] is data, and an application can change it before it
//! builds.
//!
//! # Which route
//!
//! Of all routes that take a request, the most specific one gets it:
//!
//! 1. by host: the very host, then the longest host with a `*`, then routes without a host;
//! 2. by path, as axum's router has it: text goes before parameters, and these before the rest of a path; `path` before
//!    `path_prefix`, and both before routes without a path;
//! 3. by how many conditions on the method and on fields there are.
//!
//! A request that does not meet the conditions of one route goes on to the next one, at the same path, at a less
//! specific path, at a less specific host. One that no route takes gets a 404, or a 405 with `Allow` if there is a
//! route for it with another method. Two routes between which these rules do not decide for some request are refused.
//!
//! # Errors
//!
//! [`ConfigError`] has everything that is wrong, by file, line and column. No value that may be a secret is in it.
//!
//! # Changes
//!
//! [`ConfigWatch`] follows a file, and [`LiveConfig`] can be given any other configuration while it serves requests. A
//! cluster that stays as it is keeps its connections and all that it has learned.
//!
//! [`LoadBalanceBuilder`]: crate::balance::LoadBalanceBuilder
//! [`ClientBuilder`]: crate::upstream::ClientBuilder
//! [`ReverseProxy`]: crate::ReverseProxy
//! [`Retry`]: crate::retry::Retry

// Each folder depends only on those further down, and so does each file.
//
// - `live`: a configuration at work, and how it becomes another one.
// - `file`: a file, with sections of the application; `root`: `Config`, which checks; `schema`: that of the file.
// - `plan`: a configuration that was checked, with everything made that could be refused.
// - `routing`: which route takes a request.
// - `document`: a text in TOML as values with their places; `error`: what is wrong, for people.
// - `data`: what can be said.

mod data;
mod document;
mod error;
mod file;
mod live;
mod plan;
mod root;
mod routing;
mod schema;

pub use self::{
    data::{
        AdaptiveConcurrencyConfig, AdaptiveLimitsConfig, BackoffConfig, ClientConfig,
        ClusterConfig, ConsistentHashConfig, DiscoverConfig, DnsConfig, EjectionConfig,
        EndpointConfig, EtcdConfig, EtcdUserConfig, FieldsConfig, HeaderCondition,
        HealthCheckConfig, HedgeConfig, HostConfig, HumanDuration, HumanSize, KubernetesConfig,
        MatchConfig, PolicyConfig, ProxyProtocolConfig, QueueByConfig, QueueConfig, RedirectConfig,
        RespondConfig, RetryBudgetConfig, RetryConfig, RouteConfig, SameSiteConfig, StickyConfig,
        Switch, TextSource, TlsConfig, WatchedFileConfig,
    },
    error::{ConfigError, ConfigProblem},
    file::ConfigFile,
    live::{ConfigWatch, LiveConfig, ReloadStatus, RouteService, RouteServiceFuture},
    root::{Config, DefaultsConfig},
};
