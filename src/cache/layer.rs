//! The layer, and its settings.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderName, request::Parts};
use tower::Layer;

use super::{
    background::Background, cache_status::status_name, handle::CacheHandle, key::CacheKey,
    memory::MemoryStore, rules::SteeringFields, service::Cache, settings::CacheSettings,
    shared::CacheState, store::Store, visit::SharedCache,
};
use crate::error::Error;

/// Answers requests from a store, and stores the responses of the services that it wraps.
///
/// Clones, and the services that they make, share one store. See the [module docs](super).
pub struct CacheLayer<St = MemoryStore>(SharedCache<St>);

impl CacheLayer<MemoryStore> {
    /// Returns a cache in memory with the default settings: see [`in_memory`](Self::in_memory).
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self::in_memory(max_bytes).build()
    }

    /// Returns a builder for a cache in memory that occupies no more than this many bytes: three quarters of it for
    /// what is stored, and a quarter for responses that are being stored.
    #[must_use]
    pub fn in_memory(max_bytes: u64) -> CacheBuilder<MemoryStore> {
        let in_flight = max_bytes / 4;
        let builder = Self::builder(MemoryStore::new(max_bytes - in_flight));
        builder.max_bytes_in_flight(usize::try_from(in_flight).unwrap_or(usize::MAX))
    }
}

impl<St: Store> CacheLayer<St> {
    /// Returns a builder with the default settings.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum_upstream::cache::{CacheLayer, MemoryStore};
    ///
    /// let cache = CacheLayer::builder(MemoryStore::new(256 << 20))
    ///     .max_response_bytes(1 << 20)
    ///     .stale_if_error(Duration::from_secs(60))
    ///     // One entry per tenant.
    ///     .key(|request, key| {
    ///         let tenant = request.headers.get("x-tenant")?.to_str().ok()?;
    ///         Some(key.with(tenant))
    ///     })
    ///     .cache_status("edge-1")?
    ///     .build();
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn builder(store: St) -> CacheBuilder<St> {
        CacheBuilder {
            store,
            settings: CacheSettings::default(),
        }
    }

    /// Returns a handle for purges and counts.
    #[must_use]
    pub fn handle(&self) -> CacheHandle<St> {
        CacheHandle::new(self.0.state.clone())
    }
}

impl<S, St: Store> Layer<S> for CacheLayer<St> {
    type Service = Cache<S, St>;

    fn layer(&self, inner: S) -> Cache<S, St> {
        Cache::new(inner, self.0.clone())
    }
}

/// The settings of a [`CacheLayer`].
pub struct CacheBuilder<St> {
    store: St,
    settings: CacheSettings,
}

impl<St: Store> CacheBuilder<St> {
    /// Sets the largest content that is stored, in bytes. Default: 8 MiB.
    ///
    /// A response that turns out to be larger is passed on from there: its readers then get it as fast as the fastest
    /// of them reads, and a reader that falls behind by more than what had been kept gets an error.
    #[must_use]
    pub fn max_response_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_response = bytes;
        self
    }

    /// Sets how many bytes all responses together may occupy while they are being stored. Default: 16 MiB, or a quarter
    /// of a cache [in memory](CacheLayer::in_memory).
    ///
    /// A response for which there is no room is passed on, and not stored.
    #[must_use]
    pub fn max_bytes_in_flight(mut self, bytes: usize) -> Self {
        self.settings.max_in_flight = bytes;
        self
    }

    /// Sets how many responses are stored for one key, which differ by the fields that `Vary` names. Default: 16. The
    /// oldest one goes.
    #[must_use]
    pub fn max_variants(mut self, variants: usize) -> Self {
        self.settings.max_variants = variants.max(1);
        self
    }

    /// Sets the longest time for which a response is fresh that does not say so: a tenth of the time since its
    /// `Last-Modified`, and no more than this. Default: a day. Zero turns it off.
    #[must_use]
    pub fn max_heuristic_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.max_heuristic = lifetime;
        self
    }

    /// Sets for how long a stale response may be used when the service fails, or answers by 500, 502, 503 or 504,
    /// unless the response says something else. Default: zero, which is not at all.
    ///
    /// `stale-if-error` of the response takes precedence, and `no-cache`, `must-revalidate`, `proxy-revalidate` and
    /// `s-maxage` forbid it.
    #[must_use]
    pub fn stale_if_error(mut self, longest: Duration) -> Self {
        self.settings.stale_if_error = longest;
        self
    }

    /// Sets the fields that take the place of `Cache-Control` in responses (RFC 9213), the most specific one first.
    /// Default: `CDN-Cache-Control`.
    #[must_use]
    pub fn targeted_fields(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.settings.targets = names.into_iter().collect();
        self
    }

    /// Ignores the directives of requests, such as `no-cache`, so that no client can have the origin be asked. By
    /// default, they are obeyed.
    #[must_use]
    pub fn ignore_request_directives(mut self) -> Self {
        self.settings.obeys_requests = false;
        self
    }

    /// Fetches a response to its end that is being stored and that nothing reads any more. By default, it is given up:
    /// otherwise clients that leave at once could have the origin send everything it has.
    #[must_use]
    pub fn fetch_abandoned(mut self) -> Self {
        self.settings.fetches_abandoned = true;
        self
    }

    /// Sets what is added to keys, or which other key a request has. `None` passes the request on: it is neither
    /// answered from the cache, nor is its response stored.
    ///
    /// See [`CacheKey::with`] and [`CacheKey::from_url`]. It is called once per request.
    #[must_use]
    pub fn key<F>(mut self, key: F) -> Self
    where
        F: Fn(&Parts, CacheKey) -> Option<CacheKey> + Send + Sync + 'static,
    {
        self.settings.key = Some(Arc::new(key));
        self
    }

    /// Sets the fields of requests by which the service may be steered, although they are in no key. Default: those in
    /// [`CacheLayer`'s page](crate::docs::cache).
    ///
    /// A request with one of them is passed on, unless a response names the field in `Vary`. Leave out those that the
    /// service does not read, or that are set by a load balancer in front and are the same for all clients; and those
    /// that [`key`](Self::key) adds.
    #[must_use]
    pub fn steering_fields(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.settings.steering = SteeringFields::new(names);
        self
    }

    /// Sets the name of the cache in `Cache-Status` (RFC 9211). Default: `axum-upstream`.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is empty or not ASCII.
    pub fn cache_status(mut self, name: &str) -> Result<Self, Error> {
        let value = status_name(name);
        let value = value.ok_or_else(|| Error::config("cache_status", "must be text in ASCII"))?;
        self.settings.status_name = Some(value);
        Ok(self)
    }

    /// Adds no `Cache-Status`.
    #[must_use]
    pub fn no_cache_status(mut self) -> Self {
        self.settings.status_name = None;
        self
    }

    /// Sets where the time of day comes from, for tests. Default: [`SystemTime::now`].
    #[must_use]
    pub fn wall_clock<F>(mut self, now: F) -> Self
    where
        F: Fn() -> SystemTime + Send + Sync + 'static,
    {
        self.settings.wall_clock = Arc::new(now);
        self
    }

    /// Returns the layer.
    #[must_use]
    pub fn build(self) -> CacheLayer<St> {
        CacheLayer(SharedCache {
            state: Arc::new(CacheState::new(self.store, self.settings)),
            background: Arc::new(Background::default()),
        })
    }
}

impl<St> Clone for CacheLayer<St> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<St: Store> fmt::Debug for CacheLayer<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("counts", &self.0.state.counts())
            .finish_non_exhaustive()
    }
}

impl<St: fmt::Debug> fmt::Debug for CacheBuilder<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("store", &self.store)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
