//! The service around another one, and its response future.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

use super::{
    body::CacheBody,
    memory::MemoryStore,
    store::Store,
    visit::{SharedCache, Visit},
};
use crate::error::BoxError;

/// Answers requests from what the service that it wraps has answered before: what a [`CacheLayer`](super::CacheLayer)
/// makes.
///
/// See the [module docs](super).
pub struct Cache<S, St = MemoryStore> {
    inner: S,
    shared: SharedCache<St>,
}

/// The response future of [`Cache`].
type BoxedAnswer<B, E> = Pin<Box<dyn Future<Output = Result<Response<CacheBody<B>>, E>> + Send>>;

impl<S, St> Cache<S, St> {
    pub(super) fn new(inner: S, shared: SharedCache<St>) -> Self {
        Self { inner, shared }
    }
}

impl<S, St, B, RB> Service<Request<B>> for Cache<S, St>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    St: Store,
    B: Body + Send + 'static,
    RB: Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
{
    type Response = Response<CacheBody<RB>>;
    type Error = S::Error;
    type Future = CacheFuture<RB, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready goes, its clone stays.
        let clone = self.inner.clone();
        let visit = Visit {
            inner: std::mem::replace(&mut self.inner, clone),
            shared: self.shared.clone(),
        };
        CacheFuture(Box::pin(visit.answer(request)))
    }
}

/// The response future of [`Cache`].
///
/// # Cancel safety
///
/// Dropping it cancels the request to the origin, unless other requests wait for its response. What is validated or
/// fetched in the background goes on.
pub struct CacheFuture<B, E>(BoxedAnswer<B, E>);

impl<B, E> Future for CacheFuture<B, E> {
    type Output = Result<Response<CacheBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<S: Clone, St> Clone for Cache<S, St> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<S: fmt::Debug, St> fmt::Debug for Cache<S, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<B, E> fmt::Debug for CacheFuture<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheFuture").finish_non_exhaustive()
    }
}
