//! Settings of a [`LoadBalance`], and the constructors that begin with them.

use std::{collections::HashSet, hash::Hash, sync::Arc, time::Duration};

use tower::discover::Discover;

use super::{
    cluster::{Cluster, ClusterConfig},
    driver,
    policy::Policy,
    service::LoadBalance,
};
use crate::{
    endpoint::EndpointSpec,
    error::{BoxError, Error},
    random,
    upstream::{Client, ClientBuilder},
};

/// Settings of a [`LoadBalance`]; the last call says where its endpoints come from.
#[derive(Clone, Debug)]
pub struct LoadBalanceBuilder {
    ready_timeout: Duration,
    seed: Option<u64>,
    policy: Policy,
    subset: Option<usize>,
    client: ClientBuilder,
}

impl Default for LoadBalanceBuilder {
    fn default() -> Self {
        Self {
            ready_timeout: Duration::from_secs(1),
            seed: None,
            policy: Policy::default(),
            subset: None,
            client: ClientBuilder::default(),
        }
    }
}

impl LoadBalanceBuilder {
    /// How an endpoint is picked. Default [`P2c`](super::policy::P2c).
    #[must_use]
    pub fn policy(mut self, policy: impl Into<Policy>) -> Self {
        self.policy = policy.into();
        self
    }

    /// Uses no more than so many of the endpoints, so that many processes before very many endpoints do not each keep
    /// connections to all. Default: all.
    ///
    /// Each process draws its own by rendezvous hashing with a number of its own ([`seed`](Self::seed)), so that the
    /// processes together use all endpoints alike, and one that comes or goes changes each subset by one at most.
    ///
    /// 0 is taken as 1.
    #[must_use]
    pub fn subset(mut self, endpoints: usize) -> Self {
        self.subset = Some(endpoints.max(1));
        self
    }

    /// How long a request waits for [discovery](Self::discover) that has not told of any endpoint yet. Default 1 s;
    /// `Duration::MAX` waits without end.
    ///
    /// Nothing else is waited for: where there is no endpoint to give a request to, it fails at once, with 503 from a
    /// [`ReverseProxy`](crate::ReverseProxy).
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = timeout;
        self
    }

    /// Makes the choices repeatable, for tests, as far as answers take the same time: in tokio's paused time they do.
    /// Default: a seed from the operating system's source of random numbers; without that, building fails.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Settings of the clients that [`urls`](Self::urls) makes: connect timeout, TLS, pool.
    #[must_use]
    pub fn client(mut self, client: ClientBuilder) -> Self {
        self.client = client;
        self
    }

    /// Balances over URLs; see [`EndpointSpec::url`] for their form. No URL at all makes an empty cluster.
    ///
    /// # Errors
    ///
    /// A config error that names what is wrong with a URL, or that one comes twice.
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

    /// Balances over endpoints of any one kind of service; [`EndpointSpec::boxed`] makes unlike ones alike.
    ///
    /// # Errors
    ///
    /// A config error when two have the same name.
    pub fn endpoints<S>(
        self,
        specs: impl IntoIterator<Item = EndpointSpec<S>>,
    ) -> Result<LoadBalance<S>, Error>
    where
        S: Clone + Send + Sync + 'static,
    {
        let specs: Vec<_> = specs.into_iter().collect();
        let mut names = HashSet::new();
        if let Some(twice) = specs.iter().find(|spec| !names.insert(spec.name())) {
            let why = format!("{:?} is there twice; use a weight instead", twice.name());
            return Err(Error::config("endpoints", why));
        }
        let cluster = self.cluster()?;
        cluster.replace(specs);
        Ok(LoadBalance::new_in(cluster, None))
    }

    /// Balances over what a stream of changes discovers.
    ///
    /// Any [`Discover`] will do whose services are [`EndpointSpec`]s or [`Client`]s: a tower `ServiceList`, or a stream
    /// of `Result<Change<Key, EndpointSpec>, Error>`; [`from_sets`](crate::discover::from_sets) makes one of whole
    /// sets. A name that is inserted again replaces the one before. When the stream ends or fails, the last set stays.
    /// Until the first change, requests wait up to the [ready timeout](Self::ready_timeout). Changes that are there
    /// together are taken in together.
    ///
    /// A task reads the stream; it ends with the last clone of the `LoadBalance`.
    ///
    /// # Errors
    ///
    /// A config error outside a tokio runtime.
    pub fn discover<D, S>(self, discover: D) -> Result<LoadBalance<S>, Error>
    where
        D: Discover + Send + 'static,
        D::Key: Hash + Send + 'static,
        D::Service: Into<EndpointSpec<S>> + Send,
        D::Error: Into<BoxError> + Send,
        S: Send + Sync + 'static,
    {
        let cluster = self.cluster()?;
        let driver = driver::spawn(discover, cluster.clone())?;
        Ok(LoadBalance::new_in(cluster, Some(driver)))
    }

    fn cluster<S: Send + Sync + 'static>(&self) -> Result<Arc<Cluster<S>>, Error> {
        let seed = match self.seed {
            Some(seed) => seed,
            // Processes that begin at the same time must not draw the same subset.
            None => u64::from_ne_bytes(random::secret("seed")?),
        };
        Ok(Arc::new(Cluster::new(ClusterConfig {
            policy: self.policy.clone(),
            subset: self.subset,
            rng: fastrand::Rng::with_seed(seed),
            ready_timeout: self.ready_timeout,
            client: self.client.clone(),
        })))
    }
}

impl LoadBalance {
    /// Balances over URLs, with default settings. [`EndpointSpec::url`] says what a URL may look like.
    ///
    /// # Errors
    ///
    /// A config error that names what is wrong with a URL, or that one comes twice.
    pub fn new<I>(urls: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        LoadBalanceBuilder::default().urls(urls)
    }

    /// The settings, to change them.
    #[must_use]
    pub fn builder() -> LoadBalanceBuilder {
        LoadBalanceBuilder::default()
    }
}

impl<S> LoadBalance<S> {
    /// Balances over what a stream of changes discovers, with default settings. See
    /// [`LoadBalanceBuilder::discover`].
    ///
    /// # Errors
    ///
    /// A config error outside a tokio runtime.
    pub fn from_discover<D>(discover: D) -> Result<Self, Error>
    where
        D: Discover + Send + 'static,
        D::Key: Hash + Send + 'static,
        D::Service: Into<EndpointSpec<S>> + Send,
        D::Error: Into<BoxError> + Send,
        S: Send + Sync + 'static,
    {
        LoadBalanceBuilder::default().discover(discover)
    }
}
