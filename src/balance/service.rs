//! [`LoadBalance`]: the load balancer as a tower service.
//!
//! tower's own `Balance` picks in `poll_ready`, before it has seen the request, and is not `Clone`. This one is always
//! ready and picks in `call`: an affinity key is in the request, an endpoint that was tried must not be picked again,
//! and axum clones its services for each request and may drop a clone that is ready.

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

/// A load balancer: sends each request to one endpoint of a cluster.
///
/// By default, two endpoints are drawn at random and the request goes to the one where it costs less: fewer requests in
/// flight for its weight, counted until the last byte of each response has left, and faster responses. Between equals
/// it goes to the one that was picked longer ago. [`LoadBalanceBuilder::policy`](super::LoadBalanceBuilder::policy)
/// sets another [policy](crate::policy). A request that could not be sent, because no connection was made, goes to
/// another endpoint. See the [module docs](crate::balance) for examples and limits.
///
/// Clones share the cluster. The service is always ready: the endpoint is picked in `call`, and the response future
/// waits until the endpoint's service is ready.
///
/// Responses have an [`Info`](crate::Info) in their extensions, which says which endpoints were tried.
///
/// # Errors
///
/// - An error for which [`Error::is_no_endpoint`] is true if no endpoint can be given the request: at once, or after
///   the [ready timeout](super::LoadBalanceBuilder::ready_timeout) if discovery has not reported by then.
/// - Otherwise the error of the endpoint's service, with the name of the endpoint. After several attempts, that of the
///   last one.
///
/// # Cancel safety
///
/// Dropping the response future or the response body cancels the request, which then no longer counts at its endpoint.
pub struct LoadBalance<S = Client> {
    cluster: Arc<Cluster<S>>,
    /// The tasks that follow a discovery and check the endpoints; `None` without either. Dropping the last reference
    /// aborts them. A request that waits for discovery holds one, so that it is answered even if no clone of the
    /// balancer is left.
    tasks: Option<Arc<JoinSet<()>>>,
}

impl<S> LoadBalance<S> {
    /// Creates a balancer over `cluster`, which owns the `tasks` that work for it.
    pub(super) fn new_in(cluster: Arc<Cluster<S>>, tasks: JoinSet<()>) -> Self {
        Self {
            cluster,
            tasks: (!tasks.is_empty()).then(|| Arc::new(tasks)),
        }
    }

    /// Returns a handle that changes the endpoints of the cluster while requests are served.
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
        ResponseFuture::new(self.cluster.clone(), self.tasks.as_ref(), request)
    }
}

// Not derived: that would require `S: Clone`.
impl<S> Clone for LoadBalance<S> {
    fn clone(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            tasks: self.tasks.clone(),
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
