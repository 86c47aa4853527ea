//! [`LoadBalanceBuilder`], and the constructors of [`LoadBalance`] that use it.
//!
//! Settings come first and the source of the endpoints last: [`urls`](LoadBalanceBuilder::urls),
//! [`endpoints`](LoadBalanceBuilder::endpoints) or [`discover`](LoadBalanceBuilder::discover). Each of these builds a
//! cluster of its own, so one builder may be cloned and used several times.

use std::{collections::HashSet, hash::Hash, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use tokio::task::JoinSet;
use tower::{Service, discover::Discover};

use super::{
    cluster::{Cluster, ClusterConfig},
    driver,
    policy::Policy,
    prober,
    service::LoadBalance,
};
use crate::{
    body::Body,
    endpoint::EndpointSpec,
    error::{BoxError, Error},
    health::HealthCheck,
    random,
    upstream::{Client, ClientBuilder},
};

/// Builder of a [`LoadBalance`].
///
/// Its last call says where the endpoints come from, and builds: [`urls`](Self::urls), [`endpoints`](Self::endpoints)
/// or [`discover`](Self::discover).
///
/// ```
/// use axum_upstream::{LoadBalance, policy::LeastRequest};
///
/// let backends = LoadBalance::builder()
///     .policy(LeastRequest)
///     .urls(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LoadBalanceBuilder {
    ready_timeout: Duration,
    /// `None` draws one from the operating system when the cluster is built.
    seed: Option<u64>,
    policy: Policy,
    /// The most endpoints that are used, at least 1. `None` uses all.
    subset: Option<usize>,
    client: ClientBuilder,
    /// `None` checks nothing.
    health_check: Option<HealthCheck>,
}

impl Default for LoadBalanceBuilder {
    fn default() -> Self {
        Self {
            ready_timeout: Duration::from_secs(1),
            seed: None,
            policy: Policy::default(),
            subset: None,
            client: ClientBuilder::default(),
            health_check: None,
        }
    }
}

impl LoadBalanceBuilder {
    /// Sets how an endpoint is picked for a request. Default: [`P2c::new`](super::policy::P2c::new).
    #[must_use]
    pub fn policy(mut self, policy: impl Into<Policy>) -> Self {
        self.policy = policy.into();
        self
    }

    /// Uses at most this many of the endpoints. Default: all.
    ///
    /// Many processes in front of very many endpoints then do not each keep connections to all of them. Each process
    /// chooses its own subset by rendezvous hashing with a number drawn from its [`seed`](Self::seed), so that all the
    /// processes together use the endpoints evenly, and an endpoint that comes or goes changes each subset by at most
    /// one endpoint. Endpoints of weight 0 do not count. Weights and priorities play no part in the choice, so a subset
    /// may miss a tier.
    ///
    /// 0 is a config error when the cluster is built.
    #[must_use]
    pub fn subset(mut self, endpoints: usize) -> Self {
        self.subset = Some(endpoints);
        self
    }

    /// Sets how long a request waits for a [discovery](Self::discover) that has not reported yet. Default: 1 s.
    /// `Duration::MAX` waits without a limit.
    ///
    /// Nothing else is waited for: once discovery has reported, and always without one, a request that finds no
    /// endpoint fails at once, with 503 from a [`ReverseProxy`](crate::ReverseProxy). A first change, an error, the end
    /// of the stream and a change by a [`Handle`](super::Handle) all end the wait.
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = timeout;
        self
    }

    /// Seeds the random numbers that picks and the [subset](Self::subset) are drawn with. Default: a seed from the
    /// operating system's source of random numbers; without that source, building fails.
    ///
    /// The same seed makes the same choices, for tests, provided that the responses take the same time: in tokio's
    /// paused time they do. Processes that are given the same seed use the same subset.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how the clients of URLs are made: connect timeout, TLS, connection pool. Default:
    /// [`ClientBuilder::default`].
    ///
    /// It is used by [`urls`](Self::urls) and by [`Handle::insert_url`](super::Handle::insert_url). Endpoints given as
    /// [`EndpointSpec`]s bring their own service.
    #[must_use]
    pub fn client(mut self, client: ClientBuilder) -> Self {
        self.client = client;
        self
    }

    /// Checks each endpoint while requests are served, and keeps requests from one that fails. Default: no checks. See
    /// [`health`](crate::health) for what is checked and when.
    ///
    /// A task on the tokio runtime that is current when the cluster is built makes the checks. It is aborted when the
    /// last clone of the `LoadBalance` is dropped; a [`Handle`](super::Handle) does not keep it alive. Building outside
    /// of a runtime is a config error.
    ///
    /// ```
    /// use axum_upstream::{HealthCheck, LoadBalance};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), axum_upstream::Error> {
    /// let backends = LoadBalance::builder()
    ///     .health_check(HealthCheck::http("/healthz")?)
    ///     .urls(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn health_check(mut self, check: HealthCheck) -> Self {
        self.health_check = Some(check);
        self
    }

    /// Builds a balancer over URLs; see [`EndpointSpec::url`] for their form.
    ///
    /// Without any URL the cluster is empty, and requests fail until a [`Handle`](super::Handle) inserts an endpoint.
    ///
    /// # Errors
    ///
    /// A config error if a URL or its weight is not valid, if a URL is given twice, or if the operating system gives no
    /// random numbers and no [`seed`](Self::seed) is set.
    pub fn urls<I>(self, urls: I) -> Result<LoadBalance<Client>, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let specs = urls
            .into_iter()
            .map(|url| EndpointSpec::url_with(&self.client, url.as_ref()));
        let specs: Vec<_> = specs.collect::<Result<_, _>>()?;
        self.endpoints(specs)
    }

    /// Builds a balancer over endpoints of one type of service. [`EndpointSpec::boxed`] gives services of different
    /// types a common one.
    ///
    /// # Errors
    ///
    /// A config error if two endpoints have the same name, or if the operating system gives no random numbers and no
    /// [`seed`](Self::seed) is set.
    pub fn endpoints<S, B>(
        self,
        specs: impl IntoIterator<Item = EndpointSpec<S>>,
    ) -> Result<LoadBalance<S>, Error>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let specs: Vec<_> = specs.into_iter().collect();
        // The name is the identity of an endpoint, so the second would silently replace the first.
        let mut names = HashSet::new();
        if let Some(twice) = specs.iter().find(|spec| !names.insert(spec.name())) {
            let why = format!("{:?} is there twice; use a weight instead", twice.name());
            return Err(Error::config("endpoints", why));
        }
        let cluster = self.cluster()?;
        cluster.replace(specs);
        let mut tasks = JoinSet::new();
        self.check_health(&mut tasks, &cluster)?;
        Ok(LoadBalance::new_in(cluster, tasks))
    }

    /// Builds a balancer over the endpoints that a stream of changes discovers.
    ///
    /// `discover` is any [`Discover`] whose services are [`EndpointSpec`]s or [`Client`]s: a tower `ServiceList`, or a
    /// stream of `Result<Change<Key, EndpointSpec>, Error>`. [`from_sets`](crate::discover::from_sets) makes one from a
    /// stream of whole sets.
    ///
    /// - The identity of an endpoint is its name. A name that is inserted again replaces the endpoint, which drains. An
    ///   endpoint leaves when the last key that was inserted with its name has been removed.
    /// - Changes that are ready together are applied in one step.
    /// - When the stream ends, the last set stays. After an error it stays, too, and the stream is polled again one
    ///   second later.
    /// - Requests wait for the first report up to the [ready timeout](Self::ready_timeout).
    ///
    /// A task on the current tokio runtime reads the stream. It is aborted when the last clone of the `LoadBalance` is
    /// dropped. A [`Handle`](super::Handle) does not keep it alive, nor does a response future, except while it waits
    /// for the first report.
    ///
    /// # Errors
    ///
    /// A config error if it is called outside of a tokio runtime, or if the operating system gives no random numbers
    /// and no [`seed`](Self::seed) is set.
    pub fn discover<D, S, B>(self, discover: D) -> Result<LoadBalance<S>, Error>
    where
        D: Discover + Send + 'static,
        D::Key: Hash + Send + 'static,
        D::Service: Into<EndpointSpec<S>> + Send,
        D::Error: Into<BoxError> + Send,
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let cluster = self.cluster()?;
        let mut tasks = JoinSet::new();
        driver::spawn(&mut tasks, discover, cluster.clone())?;
        self.check_health(&mut tasks, &cluster)?;
        Ok(LoadBalance::new_in(cluster, tasks))
    }

    /// Makes an empty cluster with these settings.
    ///
    /// # Errors
    ///
    /// A config error if the subset is 0, or if a seed has to be drawn and the operating system gives no random
    /// numbers.
    fn cluster<S: Send + Sync + 'static>(&self) -> Result<Arc<Cluster<S>>, Error> {
        if self.subset == Some(0) {
            return Err(Error::config("subset", "it must be 1 or more"));
        }
        Ok(Arc::new(Cluster::new(ClusterConfig {
            policy: self.policy.clone(),
            subset: self.subset,
            rng: fastrand::Rng::with_seed(self.drawn_seed()?),
            ready_timeout: self.ready_timeout,
            client: self.client.clone(),
            awaits_checks: self
                .health_check
                .as_ref()
                .is_some_and(HealthCheck::is_required_before_use),
        })))
    }

    /// Adds to `tasks` one that checks the endpoints of `cluster`, if there is a check.
    ///
    /// # Errors
    ///
    /// A config error if there is one and this is called outside of a tokio runtime, or if the operating system gives
    /// no random numbers.
    fn check_health<S, B>(
        &self,
        tasks: &mut JoinSet<()>,
        cluster: &Arc<Cluster<S>>,
    ) -> Result<(), Error>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match &self.health_check {
            Some(check) => {
                let rng = fastrand::Rng::with_seed(self.drawn_seed()?);
                prober::spawn(tasks, check.clone(), cluster.clone(), rng)
            }
            None => Ok(()),
        }
    }

    /// Returns the seed that was set, or one from the operating system.
    ///
    /// It is not drawn from the clock, as `fastrand` does it: processes that start at the same time must not draw the
    /// same subset.
    fn drawn_seed(&self) -> Result<u64, Error> {
        match self.seed {
            Some(seed) => Ok(seed),
            None => Ok(u64::from_ne_bytes(random::secret("seed")?)),
        }
    }
}

impl LoadBalance {
    /// Creates a balancer over URLs, with default settings. See [`EndpointSpec::url`] for their form.
    ///
    /// # Errors
    ///
    /// A config error if a URL or its weight is not valid, if a URL is given twice, or if the operating system gives no
    /// random numbers.
    pub fn new<I>(urls: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        LoadBalanceBuilder::default().urls(urls)
    }

    /// Returns a builder, to change settings before the balancer is built.
    #[must_use]
    pub fn builder() -> LoadBalanceBuilder {
        LoadBalanceBuilder::default()
    }
}

impl<S> LoadBalance<S> {
    /// Creates a balancer over the endpoints that a stream of changes discovers, with default settings. See
    /// [`LoadBalanceBuilder::discover`].
    ///
    /// # Errors
    ///
    /// A config error if it is called outside of a tokio runtime, or if the operating system gives no random numbers.
    pub fn from_discover<D, B>(discover: D) -> Result<Self, Error>
    where
        D: Discover + Send + 'static,
        D::Key: Hash + Send + 'static,
        D::Service: Into<EndpointSpec<S>> + Send,
        D::Error: Into<BoxError> + Send,
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        LoadBalanceBuilder::default().discover(discover)
    }
}
