//! [`MirrorLayer`], and its settings.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, request::Parts};
use tower::Layer;

use super::{
    answer::Comparison,
    copier::Copier,
    service::Mirror,
    settings::{CompareHook, MirrorSettings},
    stats::MirrorHandle,
};
use crate::error::Error;

/// Sends copies of requests to a second service.
///
/// The services that it makes, and clones, share the limits, the counts and the tasks. See the
/// [module docs](crate::mirror).
#[derive(Clone, Debug)]
pub struct MirrorLayer<M>(Copier<M>);

impl<M> MirrorLayer<M> {
    /// Returns a layer that sends copies to `service`, with the default settings.
    pub fn new(service: M) -> Self {
        Self(Copier {
            service,
            settings: Arc::default(),
            state: Arc::default(),
        })
    }

    /// Sets the share of requests that are copied, drawn at random: from 0 for none to 1 for all. Default: 1.
    ///
    /// # Errors
    ///
    /// Returns a config error if it is not in this range.
    pub fn ratio(mut self, ratio: f64) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&ratio) {
            let error = format!("{ratio} is not between 0 and 1");
            return Err(Error::config("mirror ratio", error));
        }
        self.settings().ratio = ratio;
        Ok(self)
    }

    /// Copies only requests for which `matches` returns true, of those that the [ratio](Self::ratio) has drawn.
    /// Default: all. A later call replaces an earlier one.
    #[must_use]
    pub fn matching(mut self, matches: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.settings().matching = Some(Arc::new(matches));
        self
    }

    /// Sets a hook that changes the head of each copy before it is sent, such as to mark it, or to remove credentials.
    /// Default: none. A later call replaces an earlier one.
    ///
    /// ```
    /// # use axum_upstream::{mirror::MirrorLayer, upstream::Client};
    /// use http::{HeaderValue, header::AUTHORIZATION};
    ///
    /// let mirror = MirrorLayer::new(Client::new("http://127.0.0.1:6000")?).rewrite_request(|head| {
    ///     head.headers.insert("x-mirrored", HeaderValue::from_static("1"));
    ///     head.headers.remove(AUTHORIZATION);
    /// });
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn rewrite_request(mut self, hook: impl Fn(&mut Parts) + Send + Sync + 'static) -> Self {
        self.settings().rewrite = Some(Arc::new(hook));
        self
    }

    /// Compares the answers of both services: status, these fields and the whole body, and calls `told` with both.
    /// Default: the answers of the second service are dropped.
    ///
    /// Fields are looked for in trailers, too, such as `grpc-status`. The hook runs in the task of the copy, when both
    /// answers have been read. It is not called if the first service has no whole answer.
    #[must_use]
    pub fn compare(
        mut self,
        fields: impl IntoIterator<Item = HeaderName>,
        told: impl Fn(Comparison) + Send + Sync + 'static,
    ) -> Self {
        self.settings().compare = Some(CompareHook {
            fields: fields.into_iter().collect(),
            told: Arc::new(told),
        });
        self
    }

    /// Sets how many copies may be under way at once. Requests beyond it are not copied. Default: 64.
    #[must_use]
    pub fn max_in_flight(mut self, copies: usize) -> Self {
        self.settings().max_in_flight = copies;
        self
    }

    /// Sets the largest size of a request body that is copied, in bytes. Default: 64 KiB.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.settings().body_limit = bytes;
        self
    }

    /// Sets how much of an answer is read, in bytes. What is longer is cut off at the second service, and is not known
    /// to be equal. Default: 1 MiB.
    #[must_use]
    pub fn answer_limit(mut self, bytes: u64) -> Self {
        self.settings().answer_limit = bytes;
        self
    }

    /// Sets how long the second service has to answer, to the last byte. Where answers are compared, the first one then
    /// has as long again to be through with its own. Default: 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings().timeout = timeout;
        self
    }

    /// Sets the seed of the draw, for tests: of the same requests in the same order, the same are copied. Default: a
    /// random one.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.0.state.seed(seed);
        self
    }

    /// Returns a handle to the counts.
    #[must_use]
    pub fn handle(&self) -> MirrorHandle {
        MirrorHandle(self.0.state.counts.clone())
    }

    fn settings(&mut self) -> &mut MirrorSettings {
        Arc::make_mut(&mut self.0.settings)
    }
}

impl<S, M: Clone> Layer<S> for MirrorLayer<M> {
    type Service = Mirror<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Mirror::new(inner, self.0.clone())
    }
}
