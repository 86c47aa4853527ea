//! The proxy as a layer: requests that match are forwarded, and all others go to the inner service.
//!
//! [`ProxyLayer`] has the settings, a [`ReverseProxy`] and a [`Matcher`], and makes a [`Proxy`] of each service that it
//! wraps. axum wraps every route of a router separately; all of these share the settings, the cluster and the
//! connections.

use std::sync::Arc;

use http::{Method, request::Parts};
use tower::Layer;

use super::{Proxy, ReverseProxy, matcher::Matcher};

/// Forwards the requests that match, and passes all others to the inner service untouched.
///
/// Conditions of one kind are alternatives: `.method(GET).method(HEAD)` matches both. Conditions of different kinds
/// must all hold. Without any condition, every request matches.
///
/// A request that matches never reaches the inner service, not even if its endpoint answers 404 or cannot be reached:
/// nothing falls through.
///
/// `Router::layer` wraps each route and the fallback, but not what is added to the router after it. axum adds an
/// `Allow` field to what a method router answers; where that would be wrong for a forwarded request, put the layer
/// around the whole router: `layer.layer(app)`.
///
/// ```
/// use axum::{Router, http::Method, routing::get};
/// use axum_upstream::{LoadBalance, ProxyLayer};
///
/// let backends = LoadBalance::new(["http://127.0.0.1:5000"])?;
/// let app: Router = Router::new()
///     .route("/", get(|| async { "home" }))
///     .fallback(|| async { "nothing here" })
///     .layer(ProxyLayer::new(backends).path_prefix("/api").host("example.com").method(Method::GET));
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProxyLayer<S> {
    /// Cloned into each service that is wrapped.
    proxy: ReverseProxy<S>,
    /// The conditions. Shared by the services, and copied by a clone of the layer that adds one.
    matcher: Arc<Matcher>,
}

impl<S> ProxyLayer<S> {
    /// Returns a layer that forwards every request to `service`, with the default settings of [`ReverseProxy`].
    ///
    /// To change the settings, make a proxy and convert it:
    ///
    /// ```
    /// use axum_upstream::{ProxyLayer, ReverseProxy};
    ///
    /// let proxy = ReverseProxy::to("http://127.0.0.1:5000")?.strip_prefix("/api")?;
    /// let layer = ProxyLayer::from(proxy).path_prefix("/api");
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    pub fn new(service: S) -> Self {
        ReverseProxy::new(service).into()
    }

    /// Matches paths below `prefix`, which ends at the end of a segment: `/api` matches `/api` and `/api/x`, but not
    /// `/apiary`.
    ///
    /// The path is compared byte for byte, as the client wrote it: `/API` and `/%61pi` do not match `/api`. A path with
    /// `..` segments that lead out of the prefix does not match, however they are encoded.
    ///
    /// The path is forwarded whole; [`ReverseProxy::strip_prefix`] removes the prefix. A missing `/` at the front of
    /// `prefix` is added.
    #[must_use]
    pub fn path_prefix(mut self, prefix: &str) -> Self {
        Arc::make_mut(&mut self.matcher).prefix(prefix);
        self
    }

    /// Matches requests for `host`, without regard to case. The port is compared only if one is given here:
    /// `example.com` matches any, `example.com:8443` that one.
    ///
    /// The host is that of an absolute target or of HTTP/2's `:authority`, and else that of the `Host` field. A request
    /// without a valid one does not match. There are no wildcards; use [`matching`](Self::matching) for those.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        Arc::make_mut(&mut self.matcher).host(host);
        self
    }

    /// Matches requests with this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        Arc::make_mut(&mut self.matcher).method(method);
        self
    }

    /// Matches requests for whose head `predicate` returns `true`. Unlike the other conditions, several predicates must
    /// all hold.
    ///
    /// The head is the one that was received, before the proxy has checked or rewritten anything. The predicate runs
    /// last, and only if the other conditions hold.
    #[must_use]
    pub fn matching(mut self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.matcher).predicate(Arc::new(predicate));
        self
    }
}

/// A layer that forwards every request, with the settings of the proxy.
impl<S> From<ReverseProxy<S>> for ProxyLayer<S> {
    fn from(proxy: ReverseProxy<S>) -> Self {
        Self {
            proxy,
            matcher: Arc::default(),
        }
    }
}

impl<S: Clone, I> Layer<I> for ProxyLayer<S> {
    type Service = Proxy<S, I>;

    fn layer(&self, inner: I) -> Proxy<S, I> {
        Proxy::new(self.proxy.clone(), self.matcher.clone(), inner)
    }
}
