//! The load balancer as a service.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use tokio::task::JoinSet;
use tower::{Service, discover::Discover};

use super::{Handle, LoadBalanceBuilder, ResponseBody, ResponseFuture, cluster::Cluster};
use crate::{
    body::Body,
    endpoint::EndpointSpec,
    error::{BoxError, Error},
    upstream::Client,
};

/// Sends each request to the better of two endpoints drawn at random.
///
/// "Better" has fewer requests in flight for its weight, counted until the last byte of each response has left, and
/// answers faster; between equals, the one picked longer ago. [`LoadBalanceBuilder::policy`] chooses another
/// [policy](crate::policy). A request that could not connect goes to another endpoint. See the
/// [module docs](crate::balance).
///
/// Clones share the cluster. Always ready: whether an endpoint is, is found out by the call.
///
/// # Errors
///
/// [`Error::is_no_endpoint`] when the cluster is empty, or none became ready within the ready timeout; else what the
/// endpoint's service failed with, with the endpoint's name.
///
/// # Cancel safety
///
/// Dropping the response future, or the response body, cancels the request and ends its count.
pub struct LoadBalance<S = Client> {
    cluster: Arc<Cluster<S>>,
    /// Reads the discovery stream while somebody balances over it.
    driver: Option<Arc<JoinSet<()>>>,
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
        D::Key: std::hash::Hash + Send + 'static,
        D::Service: Into<EndpointSpec<S>> + Send,
        D::Error: Into<BoxError> + Send,
        S: Send + Sync + 'static,
    {
        LoadBalanceBuilder::default().discover(discover)
    }

    pub(super) fn new_in(cluster: Arc<Cluster<S>>, driver: Option<JoinSet<()>>) -> Self {
        Self {
            cluster,
            driver: driver.map(Arc::new),
        }
    }

    /// Changes the endpoints while requests are served.
    #[must_use]
    pub fn handle(&self) -> Handle<S> {
        Handle::new(self.cluster.clone())
    }
}

impl<S, B> Service<Request<Body>> for LoadBalance<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = Error;
    type Future = ResponseFuture<S>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture<S> {
        ResponseFuture::new(self.cluster.clone(), request)
    }
}

impl<S> Clone for LoadBalance<S> {
    fn clone(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            driver: self.driver.clone(),
        }
    }
}

impl<S> fmt::Debug for LoadBalance<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalance")
            .field("cluster", &self.handle())
            .finish_non_exhaustive()
    }
}
