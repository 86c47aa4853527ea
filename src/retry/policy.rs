//! [`Retry`]: which failed attempts are repeated.
//!
//! It is pure policy: the outcome of an attempt and the head of its request in, a decision out. The loop over attempts
//! is in `balance/dispatch/`, which also knows whether there is another endpoint, and whether the
//! [budget](super::budget) has something left.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};

use super::budget::RetryBudget;
use crate::{
    error::{Error, ErrorKind},
    record::Outcome,
    rewrite::is_grpc,
};

/// A user's decision about a failed attempt.
type RetryRule = Arc<dyn Fn(&FailedAttempt<'_>) -> bool + Send + Sync>;

/// Which requests are sent again after a failed attempt, how often, and within which limits.
///
/// A request of which nothing was sent goes to another endpoint in any case, whatever its method, and whatever is set
/// here. The rest is about those that an endpoint may have received. By default, a request is repeated once if both
/// hold:
///
/// - It failed in a way for which another endpoint may do better: its connection broke before the response head, the
///   [per-try timeout](Self::per_try_timeout) passed, the deadline of a [drain](crate::balance::Handle::drain) did, or
///   the response is a 502, 503 or 504, or a gRPC UNAVAILABLE without a message.
/// - It can be repeated: its method is idempotent (RFC 9110 9.2.2: GET, HEAD, OPTIONS, TRACE, PUT and DELETE), unless
///   the endpoint said by gRPC's status that it did not process it; and its body is empty, or was
///   [kept](Self::replay_limit).
///
/// It goes to an endpoint that it has not tried. If there is none, one whose connection broke, or that let the per-try
/// timeout pass, is asked again, and any other failure is the response. So it is when the [budget](Self::budget) is
/// used up.
///
/// A `POST` is never repeated by default if a byte of it may have reached an endpoint. Where the application says that
/// it may be, say so:
///
/// ```
/// use axum_upstream::{LoadBalance, retry::Retry};
///
/// let retry = Retry::default()
///     .attempts(3)?
///     .when(|failed| failed.by_default() || failed.headers().contains_key("idempotency-key"));
/// let backends = LoadBalance::builder()
///     .retry(retry)
///     .urls(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Retry {
    /// How many attempts there may be, the first included; at least 1.
    attempts: u32,
    per_try_timeout: Duration,
    replay_limit: usize,
    budget: RetryBudget,
    statuses: Arc<[StatusCode]>,
    when: Option<RetryRule>,
    field: Option<HeaderName>,
}

impl Default for Retry {
    fn default() -> Self {
        let statuses = [
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        Self {
            attempts: 2,
            per_try_timeout: Duration::MAX,
            replay_limit: 64 * 1024,
            budget: RetryBudget::default(),
            statuses: Arc::new(statuses),
            when: None,
            field: None,
        }
    }
}

impl Retry {
    /// Repeats no request of which anything may have been sent.
    #[must_use]
    pub fn never() -> Self {
        Self {
            attempts: 1,
            ..Self::default()
        }
    }

    /// Sets how many attempts a request gets, the first one included. Default: 2. With 1, nothing is repeated that may
    /// have been sent.
    ///
    /// # Errors
    ///
    /// A config error if it is 0.
    pub fn attempts(mut self, attempts: u32) -> Result<Self, Error> {
        if attempts == 0 {
            return Err(Error::config("attempts", "it must be 1 or more"));
        }
        self.attempts = attempts;
        Ok(self)
    }

    /// Sets how long an attempt may take to its response head. Default: no limit, `Duration::MAX`.
    ///
    /// The time begins when the endpoint was picked, or when it has received the whole request if that has a body, and
    /// the time for a connection is part of it. When it has passed, the attempt is cancelled and counts as a failure of
    /// its endpoint; the request is repeated if it can be, and is answered by 504 otherwise. So it is of use for
    /// requests that cannot be repeated, too, and bounds each of several attempts where the
    /// [response timeout](crate::ReverseProxy::response_timeout) bounds all of them together.
    ///
    /// # Errors
    ///
    /// A config error if it is 0.
    pub fn per_try_timeout(mut self, timeout: Duration) -> Result<Self, Error> {
        if timeout.is_zero() {
            return Err(Error::config("per_try_timeout", "it must be more than 0"));
        }
        self.per_try_timeout = timeout;
        Ok(self)
    }

    /// Sets how many bytes of a request body are kept, so that it can be sent again. Default: 64 KiB. 0 keeps none.
    ///
    /// A request with a longer body is not repeated once any of it has been sent. What is kept is freed when the
    /// response head has arrived.
    #[must_use]
    pub fn replay_limit(mut self, bytes: usize) -> Self {
        self.replay_limit = bytes;
        self
    }

    /// Sets how many repeats all requests of the cluster have together. Default: one for five requests, and ten per
    /// second.
    #[must_use]
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.budget = budget;
        self
    }

    /// Sets the statuses for which an idempotent request is repeated. Default: 502, 503 and 504.
    ///
    /// What counts as a failure of an endpoint does not depend on it.
    #[must_use]
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.statuses = statuses.into_iter().collect();
        self
    }

    /// Decides by a closure which failed attempts are repeated, in place of the default rules;
    /// [`FailedAttempt::by_default`] says what those say.
    ///
    /// It is asked about an attempt that failed, or was answered by one of the [statuses](Self::statuses), if there may
    /// be another attempt at all. A request that it may say yes to is kept, whatever its method, its body up to the
    /// [replay limit](Self::replay_limit) included.
    #[must_use]
    pub fn when(
        mut self,
        repeat: impl Fn(&FailedAttempt<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.when = Some(Arc::new(repeat));
        self
    }

    /// Sets a field that requests get from the second attempt on, with the number of the attempt, such as
    /// `x-retry-attempt: 2`. Default: none; a request is sent as it was the first time.
    #[must_use]
    pub fn attempt_field(mut self, name: HeaderName) -> Self {
        self.field = Some(name);
        self
    }

    /// Returns how many attempts a request gets, the first one included.
    pub(crate) fn most(&self) -> u32 {
        self.attempts
    }

    /// Returns the per-try timeout, or `None` if there is none.
    pub(crate) fn per_try(&self) -> Option<Duration> {
        (self.per_try_timeout < Duration::MAX).then_some(self.per_try_timeout)
    }

    /// Returns how many bytes of a body are kept.
    pub(crate) fn replay(&self) -> usize {
        self.replay_limit
    }

    /// Returns the settings of the budget.
    pub(crate) fn budget_settings(&self) -> &RetryBudget {
        &self.budget
    }

    /// Returns the field that carries the number of the attempt.
    pub(crate) fn field(&self) -> Option<&HeaderName> {
        self.field.as_ref()
    }

    /// Returns whether the request could be repeated after some failure, so that it has to be kept.
    pub(crate) fn may_repeat(&self, method: &Method, headers: &HeaderMap) -> bool {
        self.attempts > 1
            && (self.when.is_some() || method.is_idempotent() || is_grpc(method, headers))
    }

    /// Returns whether a response with this status may be one that is not passed on.
    pub(crate) fn is_failure(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status)
    }

    /// Decides whether an attempt is repeated. May run code of the user.
    pub(crate) fn decide(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        outcome: Outcome,
    ) -> bool {
        let failed = FailedAttempt {
            retry: self,
            method,
            uri,
            headers,
            outcome,
        };
        match &self.when {
            Some(when) => when(&failed),
            None => failed.by_default(),
        }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("attempts", &self.attempts)
            .field("per_try_timeout", &self.per_try_timeout)
            .field("replay_limit", &self.replay_limit)
            .field("budget", &self.budget)
            .field("statuses", &self.statuses)
            .finish_non_exhaustive()
    }
}

/// An attempt that failed, as the closure of [`Retry::when`] sees it.
#[derive(Debug)]
pub struct FailedAttempt<'a> {
    retry: &'a Retry,
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    outcome: Outcome,
}

impl FailedAttempt<'_> {
    /// Returns the method of the request.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.method
    }

    /// Returns the target of the request, as it came to the balancer.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.uri
    }

    /// Returns the header fields of the request, as they came to the balancer.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// Returns how the attempt ended: how far it came, which side was at fault, the status if there was a response.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns whether the request would be repeated without a closure: see [`Retry`].
    #[must_use]
    pub fn by_default(&self) -> bool {
        let outcome = &self.outcome;
        if let Some(error) = outcome.error() {
            use ErrorKind::{Connection, Drained, PerTryTimeout, Service};
            let elsewhere = match error {
                Connection | PerTryTimeout | Service => outcome.is_unavailable(),
                // No failure of the endpoint, but it will not answer.
                Drained => outcome.status().is_none(),
                _ => false,
            };
            return elsewhere && self.method.is_idempotent();
        }
        match outcome.status() {
            Some(status) if self.retry.is_failure(status) => self.method.is_idempotent(),
            // A gRPC UNAVAILABLE in a response without a message. Whatever the method, which is always POST: the status
            // itself says that the call can be made again.
            Some(StatusCode::OK) => outcome.is_unavailable() && is_grpc(self.method, self.headers),
            _ => false,
        }
    }
}
