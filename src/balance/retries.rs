//! [`Retries`]: the retry policy of a cluster at work, with the budget that its requests share.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, StatusCode};

use super::dispatch::HedgeTimer;
use crate::{
    body::Body,
    endpoint::InFlight,
    record::Outcome,
    retry::{Hedge, HedgeDelay, RequestCopy, Retry, RetryLedger},
};

/// Decides, for all requests of a cluster, which are sent again.
pub(super) struct Retries {
    policy: Retry,
    budget: RetryLedger,
    hedge: Option<HedgeDelay>,
}

impl Retries {
    /// Returns the retries of a new cluster.
    pub(super) fn new(policy: Retry, hedge: Option<Hedge>) -> Self {
        Self {
            budget: RetryLedger::new(*policy.budget_settings()),
            policy,
            hedge: hedge.map(HedgeDelay::new),
        }
    }

    /// Returns the policy.
    pub(super) fn policy(&self) -> &Retry {
        &self.policy
    }

    /// Returns the per-try timeout, or `None` if there is none.
    pub(super) fn per_try(&self) -> Option<Duration> {
        self.policy.per_try()
    }

    /// Counts a request, and copies it if it could be sent again.
    pub(super) fn copy(&self, request: &mut Request<Body>) -> Option<RequestCopy> {
        let hedged = self.hedge.is_some();
        if self.policy.most() > 1 || hedged {
            self.budget.deposit();
        }
        RequestCopy::of(request, &self.policy, hedged)
    }

    /// Returns how an attempt has ended that was answered with `status`, or `None` if the answer is one to pass on.
    pub(super) fn failed(&self, status: StatusCode, in_flight: &InFlight) -> Option<Outcome> {
        match self.policy.is_failure(status) {
            true => in_flight.so_far(),
            false => in_flight.outcome().filter(Outcome::is_failure),
        }
    }

    /// Returns whether a request is sent again after an attempt that ended so. May run code of the user.
    pub(super) fn is_repeated(&self, copy: &RequestCopy, outcome: Outcome) -> bool {
        copy.is_repeated(&self.policy, outcome)
    }

    /// Takes one attempt out of the budget. Returns false if there is none left.
    pub(super) fn withdraw(&self) -> bool {
        self.budget.withdraw()
    }

    /// Notes how long an attempt took to its response head, from which the delay of hedging may be learned.
    pub(super) fn took(&self, timer: &HedgeTimer) {
        if let (Some(hedge), Some(took)) = (&self.hedge, timer.elapsed()) {
            hedge.learn(took);
        }
    }

    /// Returns whether it is time to ask another endpoint as well. `patience` is how long to wait for the first one if
    /// it was found not to answer at all.
    pub(super) fn is_time(
        &self,
        patience: Option<Duration>,
        timer: &mut HedgeTimer,
        cx: &mut Context<'_>,
    ) -> bool {
        let patience = patience.filter(|_| self.policy.most() > 1);
        if patience == Some(Duration::ZERO) {
            return true;
        }
        // While the delay is not known yet, requests are measured.
        let hedged = self.hedge.as_ref();
        let hedged = hedged.map(|hedge| hedge.get().unwrap_or(Duration::MAX));
        let Some(delay) = hedged.into_iter().chain(patience).min() else {
            return false;
        };
        matches!(timer.poll_over(delay, cx), Poll::Ready(()))
    }
}
