//! [`Select`], the service.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, request::Parts};
use tower::Service;

use super::{
    future::{SelectBody, SelectFuture},
    map::Clusters,
};
use crate::error::BoxError;

/// Gives each request to the cluster that a closure names: what [`Clusters::select`] makes.
///
/// See the [module docs](crate::clusters).
pub struct Select<S, F> {
    clusters: Clusters<S>,
    name: Arc<F>,
}

impl<S> Clusters<S> {
    /// Returns a service that gives each request to the cluster that `name` returns for it. It follows the changes of
    /// the map.
    ///
    /// The closure is called once per request, with the head and its extensions, and no lock is held meanwhile. Behind
    /// a [`ReverseProxy`](crate::ReverseProxy) it sees the head after all rewrites, with the client's `Host` in
    /// `X-Forwarded-Host`.
    pub fn select<F>(&self, name: F) -> Select<S, F>
    where
        F: Fn(&Parts) -> Option<Cow<'_, str>>,
    {
        Select {
            clusters: self.clone(),
            name: Arc::new(name),
        }
    }
}

impl<S, F, B, ResBody> Service<Request<B>> for Select<S, F>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    F: Fn(&Parts) -> Option<Cow<'_, str>>,
    ResBody: http_body::Body,
{
    type Response = Response<SelectBody<ResBody>>;
    type Error = BoxError;
    type Future = SelectFuture<S, B>;

    /// Always ready. The call waits for the readiness of the cluster, so that a busy one delays its own requests only.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    /// Chooses the cluster, and counts the request there. A clone of its service is asked for its readiness by the
    /// future.
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let name = (self.name)(&head);
        let found = name.and_then(|name| self.clusters.lease(&name));
        let request = Request::from_parts(head, body);
        match found {
            Some((service, lease)) => SelectFuture::sent(service, request, lease),
            None => SelectFuture::unknown(),
        }
    }
}

// Not derived: that would require `S: Clone` and `F: Clone`.
impl<S, F> Clone for Select<S, F> {
    fn clone(&self) -> Self {
        Self {
            clusters: self.clusters.clone(),
            name: self.name.clone(),
        }
    }
}

impl<S, F> fmt::Debug for Select<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select")
            .field("clusters", &self.clusters)
            .finish_non_exhaustive()
    }
}
