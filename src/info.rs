//! What happened to a request, for logs and metrics.

use std::sync::Arc;

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
