//! The load balancer as a service.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use tokio::task::JoinSet;
use tower::Service;

use super::{body::ResponseBody, cluster::Cluster, dispatch::ResponseFuture, handle::Handle};
use crate::{
    body::Body,
    error::{BoxError, Error},
    upstream::Client,
};

/// Sends each request to the better of two endpoints drawn at random.
///
/// "Better" has fewer requests in flight for its weight, counted until the last byte of each response has left, and
/// answers faster; between equals, the one picked longer ago. A [setting](super::LoadBalanceBuilder::policy) chooses
/// another [policy](crate::policy). A request that could not connect goes to another endpoint. See the
/// [module docs](crate::balance).
///
/// Clones share the cluster. It is always ready: an endpoint is picked by the call, which then waits for the endpoint's
/// service to be ready.
///
/// # Errors
///
/// [`Error::is_no_endpoint`] if there is no endpoint to give the request to: at once, or after the
/// [ready timeout](super::LoadBalanceBuilder::ready_timeout) while discovery has not told of any. Else what the
/// endpoint's service failed with, with the endpoint's name.
///
/// # Cancel safety
///
/// Dropping the response future, or the response body, cancels the request and ends its count.
pub struct LoadBalance<S = Client> {
    cluster: Arc<Cluster<S>>,
    /// Reads the discovery stream, until the last clone is dropped.
    driver: Option<Arc<JoinSet<()>>>,
}

impl<S> LoadBalance<S> {
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
