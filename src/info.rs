//! What happened to a request, for logs and metrics.

use std::sync::{Arc, Mutex, PoisonError};

/// Found in the extensions of every response that came from an endpoint.
///
/// ```
/// use axum_upstream::Info;
///
/// fn log<B>(response: &http::Response<B>) {
///     if let Some(info) = response.extensions().get::<Info>() {
///         println!("{} answered, attempt {}", info.endpoint(), info.attempts());
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    endpoint: Arc<str>,
    attempts: u32,
}

impl Info {
    pub(crate) fn new(endpoint: Arc<str>, attempts: u32) -> Self {
        Self { endpoint, attempts }
    }

    pub(crate) fn shared_endpoint(&self) -> Arc<str> {
        self.endpoint.clone()
    }

    /// The name of the endpoint that answered: its URL, unless it was given another.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How many endpoints were tried, the one that answered included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// Travels up with a request, in its body, and is told which endpoint it was given to: a deadline that passes before
/// there is a response can then say whose fault it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracker(Arc<Mutex<Option<Arc<str>>>>);

impl Tracker {
    pub(crate) fn note(&self, endpoint: &Arc<str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(endpoint.clone());
    }

    pub(crate) fn endpoint(&self) -> Option<Arc<str>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
