//! What happened to a request, for logs and metrics.

use std::sync::{Arc, Mutex, PoisonError};

use http::Extensions;

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
    pub(crate) fn new(endpoint: Arc<str>) -> Self {
        Self { endpoint, attempts: 1 }
    }

    pub(crate) fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
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

/// Travels up with a request, in its extensions, and is told which endpoint it was given to: a deadline that passes
/// before there is a response can then say whose fault it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracker(Arc<Mutex<Option<Arc<str>>>>);

impl Tracker {
    /// Notes the endpoint on the tracker of a request, if it has one.
    pub(crate) fn note(request: &Extensions, endpoint: &Arc<str>) {
        if let Some(Self(noted)) = request.get() {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(endpoint.clone());
        }
    }

    pub(crate) fn endpoint(&self) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
