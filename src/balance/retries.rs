//! [`Retries`]: the retry policy of a cluster at work, with the budget that its requests share.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, StatusCode};

use super::hedge_timer::HedgeTimer;
use crate::{
    body::Body,
    clock::Micros,
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

    /// Copies a request if it could be sent again.
    pub(super) fn copy(&self, request: &mut Request<Body>) -> Option<RequestCopy> {
        RequestCopy::of(request, &self.policy, self.hedge.is_some())
    }

    /// Counts a request of a client at `now`, which adds to the budget.
    pub(super) fn deposit(&self, now: Micros) {
        self.budget.deposit(now);
    }

    /// Returns whether an answer with `status` may be one that is not passed on.
    pub(super) fn may_fail(&self, status: StatusCode, in_flight: &InFlight) -> bool {
        self.policy.is_failure(status) || in_flight.has_failed()
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

    /// Takes one attempt out of the budget at `now`. Returns false if there is none left.
    pub(super) fn withdraw(&self, now: Micros) -> bool {
        self.budget.withdraw(now)
    }

    /// Returns how many attempts the budget allows at `now`.
    pub(super) fn budget_left(&self, now: Micros) -> f64 {
        self.budget.left(now)
    }

    /// Notes how long an attempt took to its response head, from which the delay of hedging may be learned.
    pub(super) fn took(&self, timer: &HedgeTimer) {
        if let (Some(hedge), Some(took)) = (&self.hedge, timer.elapsed()) {
            hedge.learn(took);
        }
    }

    /// Returns whether it is time to ask another endpoint as well. `patience` is how long to wait for the first one if
    /// it was found not to answer at all, whether or not requests are hedged.
    pub(super) fn is_time(
        &self,
        patience: Option<Duration>,
        timer: &mut HedgeTimer,
        cx: &mut Context<'_>,
    ) -> bool {
        let patience = patience.filter(|_| self.policy.most() > 1);
        if patience.is_some_and(|delay| delay.is_zero()) {
            return true;
        }
        // While the delay is not known yet, requests are measured.
        let hedge = self.hedge.as_ref();
        let hedge = hedge.map(|hedge| hedge.get().unwrap_or(Duration::MAX));
        let Some(delay) = patience.into_iter().chain(hedge).min() else {
            return false;
        };
        matches!(timer.poll_over(delay, cx), Poll::Ready(()))
    }
}
