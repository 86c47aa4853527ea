//! The settings of a cache, as its parts read them.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, request::Parts};

use super::{key::CacheKey, rules::SteeringFields};

/// Computes the key of a request from the one it would have.
pub(super) type KeyHook = dyn Fn(&Parts, CacheKey) -> Option<CacheKey> + Send + Sync;

/// Tells the time of day.
pub(super) type WallClock = dyn Fn() -> SystemTime + Send + Sync;

#[derive(Clone)]
pub(super) struct CacheSettings {
    /// The fields that take the place of `Cache-Control`, the first one first.
    pub(super) targets: Vec<HeaderName>,
    pub(super) max_heuristic: Duration,
    pub(super) max_response: u64,
    pub(super) max_in_flight: usize,
    pub(super) max_variants: usize,
    pub(super) stale_if_error: Duration,
    pub(super) steering: SteeringFields,
    pub(super) key: Option<Arc<KeyHook>>,
    pub(super) obeys_requests: bool,
    pub(super) fetches_abandoned: bool,
    /// The name in `Cache-Status`, as it is written there. `None` adds no field.
    pub(super) status_name: Option<HeaderValue>,
    pub(super) wall_clock: Arc<WallClock>,
}

impl CacheSettings {
    /// Returns the time of day.
    pub(super) fn now(&self) -> SystemTime {
        (self.wall_clock)()
    }

    /// Returns the key of a request, or `None` if it has none.
    pub(super) fn key_of(&self, request: &Parts) -> Option<CacheKey> {
        let key = CacheKey::of(request)?;
        match &self.key {
            Some(hook) => hook(request, key),
            None => Some(key),
        }
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            targets: vec![HeaderName::from_static("cdn-cache-control")],
            max_heuristic: Duration::from_secs(24 * 60 * 60),
            max_response: 8 << 20,
            max_in_flight: 16 << 20,
            max_variants: 16,
            stale_if_error: Duration::ZERO,
            steering: SteeringFields::default(),
            key: None,
            obeys_requests: true,
            fetches_abandoned: false,
            status_name: Some(HeaderValue::from_static("axum-upstream")),
            wall_clock: Arc::new(SystemTime::now),
        }
    }
}

impl fmt::Debug for CacheSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSettings")
            .field("targets", &self.targets)
            .field("max_heuristic", &self.max_heuristic)
            .field("max_response", &self.max_response)
            .field("max_in_flight", &self.max_in_flight)
            .field("max_variants", &self.max_variants)
            .field("stale_if_error", &self.stale_if_error)
            .field("obeys_requests", &self.obeys_requests)
            .field("fetches_abandoned", &self.fetches_abandoned)
            .field("status_name", &self.status_name)
            .finish_non_exhaustive()
    }
}
