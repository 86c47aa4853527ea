//! The guard of an attempt in progress.

use std::sync::Arc;

use http::StatusCode;
use tracing::{Span, span::EnteredSpan};

use super::{
    attempt::{Attempt, Beginning},
    endpoint_id::EndpointId,
    exchange::{ExchangeGuard, Record},
    open_span::spans_are_wanted,
    outcome::{Ending, Outcome, ResponseClass, Standing},
};
use crate::{clock::Micros, error::Error};

#[cfg(feature = "status")]
use super::explanation::Explanation;

/// An attempt in progress. Its outcome is decided exactly once: by the first of [`answered`](Self::answered),
/// [`failed`](Self::failed) and [`dropped`](Self::dropped), or by the drop of the guard if none was called.
///
/// The guard moves with the attempt: it is held by the response future, then by the response body, or by the tunnel. So
/// an attempt that is cancelled at any point still gets an outcome.
#[derive(Debug)]
pub(crate) struct AttemptGuard {
    record: Arc<Record>,
    /// The attempt's index in the record: attempts never move, and a reference cannot be stored beside the `Arc`.
    nth: u32,
    /// Whether the exchange ends with the attempt.
    last: bool,
}

impl AttemptGuard {
    /// Starts an attempt at `endpoint`, `depth` clusters below the outermost one, and adds it to the record.
    ///
    /// `parent` is the index of the attempt at the endpoint that is the cluster of this one.
    pub(crate) fn begin(
        record: &Arc<Record>,
        endpoint: &Arc<EndpointId>,
        (depth, parent): (u8, Option<usize>),
        beginning: Beginning,
    ) -> Self {
        let start = record.start();
        let attempt = || Attempt::new(endpoint.clone(), depth, parent, start, beginning);
        Self {
            nth: record.push(attempt) as u32,
            record: record.clone(),
            last: false,
        }
    }

    /// Returns the attempt's index in its record.
    pub(crate) fn nth(&self) -> usize {
        self.nth as usize
    }

    /// Returns the record of the exchange.
    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Returns the span of the attempt, if it is enabled and open.
    pub(crate) fn span(&self) -> Option<Span> {
        self.attempt()?.span()
    }

    /// Enters the span of the attempt, if it is enabled and open.
    #[inline]
    pub(crate) fn enter(&self) -> Option<EnteredSpan> {
        match spans_are_wanted() {
            true => self.enter_attempt(),
            false => None,
        }
    }

    #[cold]
    fn enter_attempt(&self) -> Option<EnteredSpan> {
        self.attempt()?.enter()
    }

    /// Has the exchange end with the attempt, whose response is the one that is passed on.
    pub(crate) fn ends(&mut self, exchange: Option<ExchangeGuard>) {
        self.last |= exchange.map(ExchangeGuard::hand_over).is_some();
    }

    /// Counts bytes of response data.
    pub(crate) fn receive(&self, bytes: usize) {
        if let Some(attempt) = self.attempt() {
            attempt.receive(bytes as u64);
        }
    }

    /// Adds why its endpoint was picked.
    #[cfg(feature = "status")]
    pub(crate) fn explain(&self, explanation: Option<Box<Explanation>>) {
        if let (Some(attempt), Some(explanation)) = (self.attempt(), explanation) {
            attempt.explain(explanation);
        }
    }

    /// Returns the number of bytes of request and response data so far.
    #[cfg(feature = "status")]
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let received = self.attempt().map_or(0, Attempt::response_bytes);
        (self.record.upload().bytes(), received)
    }

    /// Returns how the attempt ended, or `None` while it is in progress.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.attempt()?.outcome()
    }

    /// Returns how the attempt would end if its response were complete now, or has ended.
    pub(crate) fn so_far(&self) -> Option<Outcome> {
        let attempt = self.attempt()?;
        let ending = Ending::Answered(ResponseClass::Success);
        let decided = attempt.outcome();
        decided.or_else(|| Some(Outcome::decide(self.standing(attempt), &ending)))
    }

    /// Records that the response head has arrived, with this status: at a time of the clock by which the attempt has
    /// begun, or now.
    pub(crate) fn reached_body(&self, status: StatusCode, at: Option<Micros>) {
        if let Some(attempt) = self.attempt() {
            attempt.reached_body(status, at);
        }
    }

    /// Decides that the attempt ended with a response of this class, unless its outcome has been decided.
    ///
    /// Returns the outcome that was decided first, as the other two do.
    pub(crate) fn answered(&self, class: ResponseClass) -> Option<Outcome> {
        self.decide(&Ending::Answered(class))
    }

    /// Decides that the attempt failed, unless its outcome has been decided.
    pub(crate) fn failed(&self, error: &Error) -> Option<Outcome> {
        self.decide(&Ending::Failed(error))
    }

    /// Decides that the attempt was cancelled, or complete if it has ended as a tunnel, unless its outcome has been
    /// decided.
    pub(crate) fn dropped(&self) -> Option<Outcome> {
        match self.record.is_complete() {
            true => self.answered(ResponseClass::Success),
            false => self.decide(&Ending::Dropped),
        }
    }

    /// Ends the attempt before the drop, which then finds it ended, and returns it with its record: cancelled, if
    /// nothing else has been decided.
    pub(crate) fn end(&self) -> Option<(&Record, &Attempt)> {
        self.dropped();
        let attempt = self.attempt()?;
        attempt.end();
        Some((&self.record, attempt))
    }

    /// Decides the outcome from what the record knows, and returns the one that was decided first.
    ///
    /// Always returns one: the attempt is in the record for as long as the record lives. The `Option` spares the caller
    /// a panic that could never happen.
    fn decide(&self, ending: &Ending<'_>) -> Option<Outcome> {
        let attempt = self.attempt()?;
        // The drop of nearly every guard finds it decided.
        let decided = attempt.outcome();
        decided.or_else(|| Some(attempt.decide(self.standing(attempt), ending)))
    }

    /// Returns the state of the exchange and the attempt.
    fn standing(&self, attempt: &Attempt) -> Standing {
        let (stage, sent) = attempt.progress();
        Standing {
            stage,
            sent,
            status: attempt.status(),
            upload_error: self.record.upload().error(),
            stopped: self.record.stopped(),
        }
    }

    /// Returns the attempt. Walks the list, which has one or two elements.
    fn attempt(&self) -> Option<&Attempt> {
        self.record.attempts().nth(self.nth())
    }
}

impl Drop for AttemptGuard {
    /// Decides that the attempt was cancelled if nothing else has been decided, and records when it ended.
    fn drop(&mut self) {
        self.dropped();
        if let Some(attempt) = self.attempt().filter(|attempt| !attempt.has_ended()) {
            attempt.end();
        }
        if self.last {
            self.record.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::{ErrorKind, Side},
        record::Stage,
    };

    fn begun() -> (Arc<Record>, AttemptGuard) {
        let record = Arc::<Record>::default();
        let endpoint = Arc::new(EndpointId::new(None, "a".into()));
        let guard = AttemptGuard::begin(&record, &endpoint, (0, None), Beginning::now());
        (record, guard)
    }

    fn outcome(record: &Record) -> Outcome {
        record.attempts().next().unwrap().outcome().unwrap()
    }

    #[test]
    fn an_outcome_is_decided_once() {
        let (record, guard) = begun();
        assert!(record.attempts().next().unwrap().outcome().is_none());
        guard.answered(ResponseClass::Failure);
        guard.answered(ResponseClass::Success);
        drop(guard);
        assert!(outcome(&record).is_failure());
    }

    #[test]
    fn a_dropped_attempt_has_an_outcome() {
        let (record, guard) = begun();
        record.not_sent(Some(0));
        drop(guard);
        let outcome = outcome(&record);
        assert_eq!(
            (outcome.stage(), outcome.is_sent()),
            (Stage::Connect, false)
        );
        assert_eq!(outcome.fault(), Some(Side::Downstream));
    }

    #[test]
    fn a_body_that_breaks_ends_an_attempt_in_its_body() {
        let (record, guard) = begun();
        guard.reached_body(StatusCode::OK, None);
        guard.failed(&Error::new(ErrorKind::ResponseBody));
        assert_eq!(outcome(&record).stage(), Stage::Body);
        assert!(outcome(&record).is_failure() && outcome(&record).is_sent());
    }
}
