//! The constructors of a [`LoadBalance`]: shorter ways to its builder.

use std::hash::Hash;

use bytes::Bytes;
use http::{Request, Response};
use tower::{Service, discover::Discover};

use super::{builder::LoadBalanceBuilder, service::LoadBalance};
use crate::{
    body::Body,
    endpoint::EndpointSpec,
    error::{BoxError, Error},
};

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
