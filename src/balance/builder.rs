//! [`LoadBalanceBuilder`], and the constructors of [`LoadBalance`] that use it.
//!
//! Settings come first and the source of the endpoints last: [`urls`](LoadBalanceBuilder::urls),
//! [`endpoints`](LoadBalanceBuilder::endpoints) or [`discover`](LoadBalanceBuilder::discover). Each of these builds a
//! cluster of its own, so one builder may be cloned and used several times.

use std::{collections::HashSet, hash::Hash, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use tower::{Service, discover::Discover};

use super::{
    cluster::Cluster, cluster_settings::ClusterSettings, driver, policy::Policy, prober,
    queueing::QueueSettings, service::LoadBalance, wake::Wake,
};
#[cfg(feature = "adaptive-limit")]
use crate::limit::AdaptiveConcurrency;
use crate::{
    body::Body,
    endpoint::{EndpointSpec, SharedSettings},
    error::{BoxError, Error},
    health::{Ejection, HealthCheck},
    random,
    retry::{Hedge, Retry},
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
    endpoints: SharedSettings,
    retry: Retry,
    hedge: Option<Hedge>,
    queue: QueueSettings,
    wake: Option<Wake>,
    #[cfg(feature = "status")]
    pub(super) explains: bool,
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
            endpoints: SharedSettings::default(),
            retry: Retry::default(),
            hedge: None,
            queue: QueueSettings::default(),
            wake: None,
            #[cfg(feature = "status")]
            explains: false,
        }
    }
}

impl LoadBalanceBuilder {
    /// Names the cluster, in [`Info`](crate::Info), logs, metrics and the status page. Default: `default`.
    ///
    /// Clusters of one application should have different names.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.endpoints.cluster = name.into();
        self
    }

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

    /// Sets which requests are sent again after a failed attempt. Default: [`Retry::default`], an idempotent request
    /// once, to another endpoint. [`Retry::never`] turns that off.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Asks a second endpoint when the first one is slow. Default: `None`, no second endpoint.
    ///
    /// Building fails if the [budget](crate::retry::RetryBudget) of the retries is 0, which hedges are taken out of.
    #[must_use]
    pub fn hedge(mut self, hedge: impl Into<Option<Hedge>>) -> Self {
        self.hedge = hedge.into();
        self
    }

    /// Sets when an endpoint that fails is ejected. Default: [`Ejection::default`]. `None` ejects none.
    #[must_use]
    pub fn ejection(mut self, ejection: impl Into<Option<Ejection>>) -> Self {
        self.endpoints.ejection = ejection.into();
        self
    }

    /// Sets how many requests may be in flight at each endpoint, from the pick to the last byte of the response.
    /// Default: no limit, `usize::MAX`.
    ///
    /// An endpoint with as many is not picked. If all are full, a request waits in the [queue](Self::queue) or fails at
    /// once, with 503 from a [`ReverseProxy`](crate::ReverseProxy). Tunnels and long downloads count for as long as
    /// they last.
    ///
    /// 0 is a config error when the cluster is built.
    #[must_use]
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.endpoints.max_in_flight = (requests < usize::MAX).then_some(requests as u64);
        self
    }

    /// Sets how many requests may be in flight at all endpoints together. Default: no limit, `usize::MAX`. See
    /// [`max_in_flight`](Self::max_in_flight).
    ///
    /// 0 is a config error when the cluster is built.
    #[must_use]
    pub fn max_in_flight_total(mut self, requests: usize) -> Self {
        self.endpoints.max_total = (requests < usize::MAX).then_some(requests as u64);
        self
    }

    /// Has the in-flight limit of each endpoint follow what it can take, by its latency. Default: `None`, it does not.
    ///
    /// Where there is a [`max_in_flight`](Self::max_in_flight), too, the lower of both counts.
    #[cfg(feature = "adaptive-limit")]
    #[must_use]
    pub fn adaptive_concurrency(
        mut self,
        settings: impl Into<Option<AdaptiveConcurrency>>,
    ) -> Self {
        self.endpoints.adaptive = settings.into();
        self
    }

    /// Has up to `requests` wait, each for up to `deadline`, while all endpoints are full. Default: 0, none waits.
    /// `Duration::MAX` waits without a limit.
    ///
    /// They are served in the order of their arrival, and before any that arrive later. One that finds the queue full,
    /// or whose time is over, fails with 503 and `Retry-After`.
    ///
    /// Without an in-flight limit there is nothing to wait for, so that building fails.
    #[must_use]
    pub fn queue(mut self, requests: usize, deadline: Duration) -> Self {
        (self.queue.most, self.queue.deadline) = (requests, deadline);
        self
    }

    /// Has requests [queue](Self::queue) by a key, such as the tenant. Default: all queue in one line.
    ///
    /// Requests with equal keys are a lane of their own, and lanes are served in turn. When the queue is full, the last
    /// request of the longest lane makes room for one of a shorter lane. So one tenant that floods the queue waits for
    /// itself.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum_upstream::LoadBalance;
    ///
    /// let backends = LoadBalance::builder()
    ///     .max_in_flight(100)
    ///     .queue(1_000, Duration::from_secs(2))
    ///     .queue_by(|request| request.headers().get("x-tenant").cloned())
    ///     .urls(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn queue_by<K: Hash>(
        mut self,
        key: impl Fn(&Request<Body>) -> K + Send + Sync + 'static,
    ) -> Self {
        self.queue.by(key);
        self
    }

    /// Holds requests of an empty cluster for up to `hold`, and calls `hook` to have it woken, as where servers are
    /// started on demand. Default: they fail at once.
    ///
    /// The hook is called once for all requests that are held together, by the task of the first of them, so it must
    /// not block: it may spawn a task. The requests go on when a [`Handle`](super::Handle) or the
    /// [discovery](Self::discover) adds an endpoint, and fail with 503 if none has come in time.
    #[must_use]
    pub fn wake(mut self, hold: Duration, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.wake = Some(Wake::new(hold, hook));
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
            let why = format!("{:?} is listed twice; use a weight instead", twice.name());
            return Err(Error::config("endpoints", why));
        }
        let (cluster, seed) = self.cluster()?;
        cluster.replace(specs);
        let tasks = prober::spawn(self.health_check, cluster.clone(), seed)?;
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
    /// - When the stream ends, the last set stays. After an error it stays, too, and the stream is polled again after a
    ///   pause: 1 s at most after the first error, and up to twice as long after each further one in a row, to 30 s at
    ///   most. Between a half and the whole of that is drawn at random.
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
        let (cluster, seed) = self.cluster()?;
        let mut tasks = prober::spawn(self.health_check, cluster.clone(), seed)?;
        driver::spawn(&mut tasks, discover, cluster.clone())?;
        Ok(LoadBalance::new_in(cluster, tasks))
    }

    /// Checks the settings, as it is done when the cluster is built.
    ///
    /// # Errors
    ///
    /// A config error that names a setting which cannot be, alone or with another one.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.subset == Some(0) {
            return Err(Error::config("subset", "it must be 1 or more"));
        }
        let limits = [
            ("max_in_flight", self.endpoints.max_in_flight),
            ("max_in_flight_total", self.endpoints.max_total),
        ];
        if let Some((setting, _)) = limits.iter().find(|(_, limit)| *limit == Some(0)) {
            return Err(Error::config(setting, "it must be 1 or more"));
        }
        let limited = limits.iter().any(|(_, limit)| limit.is_some());
        #[cfg(feature = "adaptive-limit")]
        let limited = limited || self.endpoints.adaptive.is_some();
        if self.queue.most > 0 && !limited {
            return Err(Error::config(
                "queue",
                "it needs an in-flight limit, without which nothing is full",
            ));
        }
        if self.hedge.is_some() && self.retry.budget_settings().is_empty() {
            return Err(Error::config(
                "hedge",
                "the retry budget is 0, and hedges are part of it",
            ));
        }
        Ok(())
    }

    /// Makes an empty cluster with these settings. Returns it with the seed of its random numbers.
    ///
    /// # Errors
    ///
    /// A config error of [`check`](Self::check), or if a seed has to be drawn and the operating system gives no random
    /// numbers.
    fn cluster<S: Send + Sync + 'static>(&self) -> Result<(Arc<Cluster<S>>, u64), Error> {
        self.check()?;
        let seed = match self.seed {
            Some(seed) => seed,
            // Not seeded by the clock, as `fastrand` does it: processes that start at the same time must not draw the
            // same subset.
            None => u64::from_ne_bytes(random::secret("seed")?),
        };
        let cluster = Cluster::new(ClusterSettings {
            policy: self.policy.clone(),
            subset: self.subset,
            rng: fastrand::Rng::with_seed(seed),
            ready_timeout: self.ready_timeout,
            client: self.client.clone(),
            awaits_checks: prober::is_awaited(self.health_check.as_ref()),
            endpoints: self.endpoints.clone(),
            retry: self.retry.clone(),
            hedge: self.hedge,
            queue: self.queue.clone(),
            wake: self.wake.as_ref().map(Wake::fresh),
            #[cfg(feature = "status")]
            explains: self.explains,
        });
        Ok((Arc::new(cluster), seed))
    }
}
