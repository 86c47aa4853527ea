//! The guard of a request in flight at an endpoint, which reports to the load what becomes of it.
//!
//! It observes three times:
//!
//! - from the pick to the drop of the guard, the request counts as in flight;
//! - from the moment when the endpoint has received the whole request to the response head, it is outstanding: that
//!   time is the latency of the endpoint, and the absence of answers a sign of a stall;
//! - at the end of the attempt, its [`Outcome`] says whether the endpoint failed.
//!
//! The second one begins with the pick for a request without a body, and so includes the connecting. With a body, it
//! begins when the body has been sent: how long a client takes to upload says nothing about the endpoint, and would
//! otherwise let a slow client make it look slow.
//!
//! The guard decides nothing. Which ends are failures is decided by the [record](crate::record), and what they cost by
//! [`Load`].

use std::{mem, sync::Arc, task::Context, time::Duration};

use http::{Method, StatusCode};
use tracing::span::EnteredSpan;

use super::{load::Load, siblings::Micros, upload_clock::UploadClock};
use crate::{
    body::Body,
    error::{Error, ErrorKind},
    record::{AttemptGuard, Beginning, ExchangeGuard, Outcome, ResponseClass},
    telemetry::MethodLabel,
};

#[cfg(feature = "status")]
use crate::record::Explanation;

/// One request in flight at an endpoint, which counts there until this is dropped.
///
/// It is held by the response future, then by the response body, or by the tunnel of an upgrade. So the request leaves
/// the count whatever happens to it, and cancellation at any point is handled by `Drop`.
///
/// The wait for the head ends exactly once, and a failure is reported to the load at most once: by the first of
/// [`answered`](Self::answered), [`failed`](Self::failed), the end of the body, and the drop.
#[derive(Debug)]
pub(crate) struct InFlight {
    load: Arc<Load>,
    /// The time of the pick, by which the request is known to the load. `None` if it is not counted, since there were
    /// as many as there may be.
    picked: Option<Micros>,
    /// Whether the request is a probe, which decides about an endpoint that was ejected. Taken by its end.
    probe: bool,
    /// The attempt that sends the request; `None` until [`begin`](Self::begin).
    pub(super) attempt: Option<AttemptGuard>,
    method: MethodLabel,
    wait: HeadWait,
    /// What the response says about the endpoint, as of now: the trailers of a gRPC response may still change it.
    pub(super) class: ResponseClass,
    /// Whether the outcome has been reported to the load.
    booked: bool,
    /// The key of the task that waits for the attempt, among the waiters of the endpoint.
    waiter: Option<usize>,
    /// Why the endpoint was picked, until the attempt begins.
    #[cfg(feature = "status")]
    explanation: Option<Box<Explanation>>,
}

/// The wait for the response head, by which the load measures the endpoint.
///
/// It begins as `Since`, becomes `AfterUpload` if there is a body, and ends as `Over`.
#[derive(Debug)]
enum HeadWait {
    /// The endpoint has the whole request since then.
    Since(Micros),
    /// The endpoint has the whole request as soon as the clock says so.
    AfterUpload(Arc<UploadClock>),
    /// The head has arrived, or never will.
    Over,
}

impl InFlight {
    /// Makes the guard of a request that [`Load::start`] has counted, at the time that it returned. If `probe`, the
    /// load has begun a probe with it.
    pub(super) fn new(load: Arc<Load>, picked: Option<Micros>, probe: bool) -> Self {
        Self {
            load,
            picked,
            probe,
            attempt: None,
            method: MethodLabel::of(&Method::GET),
            wait: picked.map_or(HeadWait::Over, HeadWait::Since),
            class: ResponseClass::Success,
            booked: false,
            waiter: None,
            #[cfg(feature = "status")]
            explanation: None,
        }
    }

    /// Returns whether the request is a probe that has not ended.
    #[cfg(feature = "status")]
    pub(crate) fn is_probe(&self) -> bool {
        self.probe
    }

    /// Keeps why the endpoint was picked, for the attempt that begins.
    #[cfg(feature = "status")]
    pub(crate) fn explain(&mut self, explanation: Box<Explanation>) {
        self.explanation = Some(explanation);
    }

    /// Returns whether the request counts. If not, the endpoint had no room for it, and it must not be sent.
    pub(crate) fn is_counted(&self) -> bool {
        self.picked.is_some()
    }

    /// Returns when the attempt begins: at the time of the pick.
    pub(crate) fn beginning(&self) -> Beginning {
        let siblings = &self.load.siblings;
        siblings.beginning(self.picked.unwrap_or_else(|| siblings.now()))
    }

    /// Enters the span of the attempt, if it is enabled.
    pub(crate) fn enter(&self) -> Option<EnteredSpan> {
        self.attempt.as_ref().and_then(AttemptGuard::enter)
    }

    /// Has the exchange end with the attempt: see [`AttemptGuard::ends`].
    pub(crate) fn ends(&mut self, exchange: Option<ExchangeGuard>) {
        if let Some(attempt) = &mut self.attempt {
            attempt.ends(exchange);
        }
    }

    /// Returns the time of the pick. `None` if the request does not count.
    pub(crate) fn picked(&self) -> Option<Micros> {
        self.picked
    }

    /// Has the task woken when the endpoint is found not to answer, or when it is drained and must be left.
    pub(crate) fn watch(&mut self, cx: &Context<'_>) {
        self.load.waiters().watch(&mut self.waiter, cx);
    }

    /// Returns whether the endpoint was drained, and the time for what was in flight is over.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.load.waiters().are_cut_off()
    }

    /// Returns how long the request waits before another endpoint is asked as well, because this one does not answer at
    /// all. `None` if it does answer.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.load.patience(self.probe)
    }

    /// Records that the request, of which this is the method, is about to be sent as `attempt`.
    ///
    /// If `body` is not empty, the wait for the head only begins when it has been sent, or when the endpoint wants no
    /// more of it.
    pub(crate) fn begin(&mut self, attempt: AttemptGuard, method: MethodLabel, body: &mut Body) {
        #[cfg(feature = "status")]
        attempt.explain(self.explanation.take());
        self.load.metrics.began();
        self.attempt = Some(attempt);
        self.method = method;
        if !http_body::Body::is_end_stream(body) {
            if let HeadWait::Since(since) = mem::replace(&mut self.wait, HeadWait::Over) {
                self.load.unsent(since);
            }
            let clock = Arc::new(UploadClock::new(self.load.clone()));
            body.on_sent(clock.clone());
            self.wait = HeadWait::AfterUpload(clock);
        }
    }

    /// Records that the response head has arrived: what it says about the endpoint, and for how long the endpoint asks
    /// to be left alone.
    ///
    /// A failing head ends the attempt for the load. A success may still become a failure, in the body or its trailers.
    pub(crate) fn answered(
        &mut self,
        status: StatusCode,
        class: ResponseClass,
        retry_after: Option<Duration>,
    ) {
        let now = self.load.clock();
        self.class = class;
        if let Some(attempt) = &self.attempt {
            attempt.reached_body(status, Some(now));
        }
        let sent = self.end_wait();
        let lasted = sent.is_some_and(|sent| self.load.answered(sent, now));
        self.load.stats.answered(status, now, sent);
        if let Some(sent) = sent.filter(|_| !lasted) {
            // Both say that the endpoint has too much to do; other failures say nothing about that.
            use StatusCode as Status;
            let overloaded = [Status::TOO_MANY_REQUESTS, Status::SERVICE_UNAVAILABLE];
            let overloaded = overloaded.contains(&status);
            if overloaded || !class.is_failure() {
                self.load.learn_limit(sent, now, overloaded);
            }
        }
        match class {
            ResponseClass::Success => {
                // A late answer that was overtaken by faster ones says something about its request, such as that it
                // was a long poll, and not about the endpoint. Nor is there a latency if the endpoint answered before
                // it had the whole request, or refused to work at it.
                let refused = status == StatusCode::TOO_MANY_REQUESTS;
                if refused {
                    self.load.turned_away(now);
                }
                let timed = sent.filter(|_| !lasted && !refused);
                let latency = timed.map(|sent| seconds(sent, now));
                self.load.succeeded(now, latency, self.probe);
                self.end_probe(now, false);
            }
            // Whatever the body is, the endpoint has failed. Picks should know now, and not at its end.
            failure => self.complete_with(failure),
        }
        if let Some(wait) = retry_after {
            self.load.leave_alone(now, wait);
        }
    }

    /// Records that the attempt failed. Whose fault that was is decided by the attempt's [`Outcome`].
    pub(crate) fn failed(&mut self, error: &Error) -> Option<Outcome> {
        let outcome = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.failed(error));
        self.book(outcome, Some(error));
        outcome
    }

    /// Records that another attempt of the same exchange was answered first, so that this one is cancelled.
    ///
    /// That is no failure, unless it was a probe. But the time that it took is a lower bound of the endpoint's latency.
    pub(crate) fn superseded(&mut self) {
        if let HeadWait::Since(sent) = self.wait {
            self.load.outlasted(sent);
        }
        // A probe without an answer has not shown that the endpoint is well. If it did not count, the next request
        // would be another probe.
        self.end_probe(self.load.clock(), true);
        let _ = self.failed(&Error::new(ErrorKind::Superseded));
    }

    /// Returns whether the response head said that the endpoint has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.class.is_failure()
    }

    /// Returns how the attempt would end if its response were complete now, or has ended.
    pub(crate) fn so_far(&self) -> Option<Outcome> {
        self.attempt.as_ref().and_then(AttemptGuard::so_far)
    }

    /// Returns how the attempt ended, or `None` while it is in progress.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.attempt.as_ref().and_then(AttemptGuard::outcome)
    }

    /// Records that the attempt ended with a response of this class.
    pub(super) fn complete_with(&mut self, class: ResponseClass) {
        let outcome = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.answered(class));
        self.book(outcome, None);
    }

    /// Reports the outcome of the attempt to the load, unless one has been reported; `error` is what led to it.
    fn book(&mut self, outcome: Option<Outcome>, error: Option<&Error>) {
        if mem::replace(&mut self.booked, true) {
            return;
        }
        if let Some(outcome) = &outcome {
            self.load.stats.decided(outcome, error);
        }
        let failure = outcome.filter(Outcome::is_failure);
        let sent = self.end_wait();
        if failure.is_none() && sent.is_none() {
            // The end of nearly every attempt, for which the clock is not read.
            if outcome.is_some_and(|outcome| outcome.is_success()) {
                self.load.completed();
            }
            if self.probe {
                self.end_probe(self.load.clock(), false);
            }
            return;
        }
        let now = self.load.clock();
        // The wait goes on only if the attempt ended without a head.
        if let Some(sent) = sent {
            match failure.is_some_and(|failure| failure.is_heard()) {
                true => drop(self.load.answered(sent, now)),
                false => self.load.given_up(sent, now),
            }
        }
        if let Some(failure) = &failure {
            self.load.failed(now, failure);
            if let Some(sent) = sent.filter(|_| failure.is_silent() && failure.is_sent()) {
                self.load.learn_limit(sent, now, true);
            }
        }
        self.end_probe(now, failure.is_some());
    }

    /// Ends the probe, if this is one that has not ended.
    fn end_probe(&mut self, now: Micros, failed: bool) {
        if mem::take(&mut self.probe) {
            self.load.end_probe(now, failed);
        }
    }

    /// Ends the wait for the head. Returns since when the endpoint has the whole request, or `None` if it never had or
    /// if the wait was over.
    fn end_wait(&mut self) -> Option<Micros> {
        match mem::replace(&mut self.wait, HeadWait::Over) {
            HeadWait::Since(since) => Some(since),
            HeadWait::AfterUpload(clock) => clock.stop(),
            HeadWait::Over => None,
        }
    }
}

impl Drop for InFlight {
    /// Reports a cancellation, unless the attempt has ended, and takes the request off the count.
    fn drop(&mut self) {
        // The clock is not read for a request whose outcome was reported, as nearly all are.
        if !self.booked {
            let outcome = self.attempt.as_ref().and_then(AttemptGuard::dropped);
            self.book(outcome, None);
        }
        self.load.waiters().forget(self.waiter.take());
        if let Some(attempt) = &self.attempt {
            self.load.stats.transferred(attempt);
            self.load.metrics.ended(self.method, || attempt.end());
        }
        if let Some(picked) = self.picked {
            self.load.end(picked);
        }
    }
}

/// Returns the time from `since` to `now` in seconds.
fn seconds(since: Micros, now: Micros) -> f32 {
    now.saturating_sub(since) as f32 * 1e-6
}
