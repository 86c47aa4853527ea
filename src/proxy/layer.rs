//! The proxy as a layer: what matches is forwarded, the rest goes on.

use std::sync::Arc;

use http::{Method, request::Parts};
use tower::Layer;

use super::{Proxy, ReverseProxy, matcher::Matcher};

/// Forwards the requests that match, and lets the inner service have the others untouched.
///
/// Conditions of one kind are alternatives: `.method(GET).method(HEAD)` takes both. Conditions of different kinds must
/// all hold. Without any, everything matches.
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
    proxy: ReverseProxy<S>,
    matcher: Arc<Matcher>,
}

impl<S> ProxyLayer<S> {
    /// Forwards to `service` with the defaults of [`ReverseProxy`]. To change them, make one and convert it:
    /// `ProxyLayer::from(proxy)`.
    pub fn new(service: S) -> Self {
        ReverseProxy::new(service).into()
    }

    /// Paths below `prefix`, which ends at a segment: `/api` is `/api` and `/api/x`, not `/apiary`.
    ///
    /// The path is forwarded whole; [`ReverseProxy::strip_prefix`] takes the prefix off. A path with `..` segments that
    /// lead out of the prefix does not match, however they are encoded.
    #[must_use]
    pub fn path_prefix(mut self, prefix: &str) -> Self {
        Arc::make_mut(&mut self.matcher).prefix(prefix);
        self
    }

    /// Requests for `host`, whatever their case; with a port only if one is given here: `example.com`,
    /// `example.com:8443`.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        Arc::make_mut(&mut self.matcher).host(host);
        self
    }

    /// Requests with this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        Arc::make_mut(&mut self.matcher).method(method);
        self
    }

    /// Requests for whose head `predicate` holds. Unlike the others, several of these must all hold.
    #[must_use]
    pub fn matching(mut self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.matcher).predicate(Arc::new(predicate));
        self
    }
}

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
