//! [`LiveConfig`]: a configuration that serves requests, and can become another one.

use std::{fmt, sync::Arc, time::Duration};

use axum::Router;
use tokio::task::spawn_blocking;

use super::{
    super::{
        error::{ConfigError, ConfigProblem},
        root::Config,
    },
    service::RouteService,
    shared::LiveState,
    status::ReloadStatus,
};
use crate::balance::LoadBalance;
#[cfg(feature = "status")]
use crate::status::{ChangingSource, StatusRouter, StatusSource};

/// A configuration that serves requests, and can be replaced by another one meanwhile.
///
/// Clones are the same one. The router keeps it alive.
///
/// ```
/// use axum_upstream::config::{Config, LiveConfig};
///
/// let config = Config::from_toml(r#"
///     [clusters.api]
///     endpoints = ["http://127.0.0.1:5000"]
///     [routes.all]
///     cluster = "api"
/// "#)?;
/// let live = LiveConfig::new(&config)?;
/// let app: axum::Router = live.router();
///
/// let mut next = config.clone();
/// next.clusters.get_mut("api").unwrap().endpoints = Some(vec!["http://127.0.0.1:5001".into()]);
/// live.apply(&next)?;
/// # Ok::<(), axum_upstream::config::ConfigError>(())
/// ```
///
/// # What a change does
///
/// It is checked as a whole first: one that is wrong changes nothing. Then the endpoints of each cluster change in one
/// step, and right after that all routes do. Requests and tunnels in flight go on as they began.
///
/// | a cluster | what becomes of it |
/// |---|---|
/// | as it was, and the files that it names as well | nothing: connections, load, estimates, health, discovery go on |
/// | with other endpoints | those that stay keep all of that; those that have gone drain |
/// | with other settings | it is built anew, and the old one drains. Endpoints that stay keep their connections |
/// | with another client or source | the same, with new connections |
/// | gone | it drains |
#[derive(Clone)]
pub struct LiveConfig(pub(super) Arc<LiveState>);

impl LiveConfig {
    /// Builds a configuration. Clusters that are discovered or have health checks need the tokio runtime in which this
    /// is called. It reads the files that are named.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, as with [`Config::check`].
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        LiveState::new(config).map(|live| Self(Arc::new(live)))
    }

    /// Returns the router of the routes, which follows all changes. See [`Config::build`] for what it answers.
    pub fn router(&self) -> Router {
        Router::new().fallback_service(self.service())
    }

    /// Returns what is in the [router](Self::router), for a server of your own: it takes any body, and a request costs
    /// less than through a `Router`.
    #[must_use]
    pub fn service(&self) -> RouteService {
        RouteService::new(self.0.clone())
    }

    /// Makes another configuration the one that serves requests. It blocks on the files that are named.
    ///
    /// # Errors
    ///
    /// Everything that is wrong. Nothing has changed then.
    pub fn apply(&self, config: &Config) -> Result<(), ConfigError> {
        let tried = self.0.apply(config);
        self.0.status.note(&tried);
        tried
    }

    /// Reads the file again, and makes it the configuration that serves requests, even if it has not changed: files
    /// that are named in it may have.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, or that there is no file: see [`ConfigWatch`](crate::config::ConfigWatch). Nothing has
    /// changed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the change to finish on a thread of its own.
    pub async fn reload(&self) -> Result<(), ConfigError> {
        let live = self.0.clone();
        let tried = spawn_blocking(move || live.reload(true)).await;
        let fail = |why: &str| Err(ConfigError::new(vec![ConfigProblem::of_all(why.into())]));
        match tried {
            Ok(Some(tried)) => tried,
            Ok(None) => fail("this configuration does not follow a file"),
            // The application's own code in it has panicked, or the runtime is shutting down.
            Err(_) => fail("the reload panicked or was cancelled"),
        }
    }

    /// Returns which configuration serves requests, and the outcome of the last reload.
    #[must_use]
    pub fn status(&self) -> ReloadStatus {
        self.0.status.get()
    }

    /// Returns the cluster of this name, `None` if there is none now.
    ///
    /// It is the one that serves requests now, and may be replaced by a later change.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<LoadBalance> {
        self.0.current.load().cluster(name)
    }

    /// Returns all clusters as they are now, by their names.
    #[must_use]
    pub fn clusters(&self) -> Vec<LoadBalance> {
        self.0.current.load().clusters()
    }

    /// Returns the status router of all clusters, as they are whenever it is looked at, and of the last change: of what
    /// is wrong with a configuration that was not taken.
    ///
    /// It keeps the configuration alive, as the router of the routes does.
    #[cfg(feature = "status")]
    #[must_use]
    pub fn status_router(&self) -> StatusRouter {
        let (clusters, status) = (self.clone(), self.clone());
        let source = ChangingSource {
            clusters: Some(Arc::new(move || {
                clusters.clusters().iter().map(StatusSource::from).collect()
            })),
            configuration: Some(Arc::new(move || status.status().to_json())),
        };
        StatusRouter::default().changing(source)
    }

    /// Waits for the tunnels of all routes to end, of former ones too, and closes those that are still open after
    /// `grace`. See [`ReverseProxy::close_tunnels`](crate::ReverseProxy::close_tunnels).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before `grace` has passed leaves the tunnels open.
    pub async fn close_tunnels(&self, grace: Duration) {
        self.0.base.close_tunnels(grace).await;
    }
}

impl Config {
    /// Builds the clusters, and the router of the routes.
    ///
    /// The router answers every request: those that no route takes with 404, or with 405 and `Allow` if there is a
    /// route for other methods. An application's own routes therefore go in front:
    /// `Router::new().route(…).fallback_service(config.build()?)`.
    ///
    /// Clusters that are discovered or have health checks need the tokio runtime in which this is called. To reach the
    /// clusters or to change them later, use [`LiveConfig::new`].
    ///
    /// # Errors
    ///
    /// Everything that is wrong, as with [`check`](Self::check).
    pub fn build(&self) -> Result<Router, ConfigError> {
        LiveConfig::new(self).map(|live| live.router())
    }
}

impl fmt::Debug for LiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveConfig")
            .field("current", &self.0.current.load())
            .finish_non_exhaustive()
    }
}
