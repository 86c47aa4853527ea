//! The settings of a mirror, with their defaults. `layer.rs` documents each at its setter.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, request::Parts};

use super::answer::Comparison;

/// Whether a request is copied.
pub(super) type MirrorCondition = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// A change of the head of a copy.
pub(super) type MirrorRewrite = Arc<dyn Fn(&mut Parts) + Send + Sync>;

/// All settings. Shared by the services of a layer, and copied by one that changes them.
#[derive(Clone)]
pub(super) struct MirrorSettings {
    /// In [0, 1].
    pub(super) ratio: f64,
    pub(super) matching: Option<MirrorCondition>,
    pub(super) rewrite: Option<MirrorRewrite>,
    pub(super) compare: Option<CompareHook>,
    pub(super) max_in_flight: usize,
    /// In bytes.
    pub(super) body_limit: usize,
    /// In bytes.
    pub(super) answer_limit: u64,
    pub(super) timeout: Duration,
}

/// Which fields are compared, and the hook that is called with both answers.
#[derive(Clone)]
pub(super) struct CompareHook {
    pub(super) fields: Arc<[HeaderName]>,
    pub(super) told: Arc<dyn Fn(Comparison) + Send + Sync>,
}

impl Default for MirrorSettings {
    fn default() -> Self {
        Self {
            ratio: 1.0,
            matching: None,
            rewrite: None,
            compare: None,
            max_in_flight: 64,
            // What is kept of a request for retries, too.
            body_limit: 64 * 1024,
            answer_limit: 1024 * 1024,
            // The response timeout of a proxy.
            timeout: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for MirrorSettings {
    /// Leaves the closures out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorSettings")
            .field("ratio", &self.ratio)
            .field("max_in_flight", &self.max_in_flight)
            .field("body_limit", &self.body_limit)
            .field("answer_limit", &self.answer_limit)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
