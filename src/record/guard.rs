//! The guard of an attempt in progress.

use std::sync::Arc;

use super::{
    attempt::Attempt,
    exchange::Record,
    outcome::{Ending, Outcome, ResponseClass, Standing},
};
use crate::error::Error;

/// An attempt in progress. Its outcome is decided exactly once: by the first of [`answered`](Self::answered),
/// [`failed`](Self::failed) and [`dropped`](Self::dropped), or by the drop of the guard if none was called.
///
/// The guard moves with the attempt: it is held by the response future, then by the response body, or by the tunnel. So
/// an attempt that is cancelled at any point still gets an outcome.
#[derive(Debug)]
pub(crate) struct AttemptGuard {
    record: Arc<Record>,
    /// The attempt's index in the record: attempts never move, and a reference cannot be stored beside the `Arc`.
    nth: usize,
}

impl AttemptGuard {
    /// Starts an attempt at `endpoint`, `depth` clusters below the outermost one, and adds it to the record.
    pub(crate) fn begin(record: &Arc<Record>, endpoint: &Arc<str>, depth: u8) -> Self {
        let nth = record.push(Attempt::new(endpoint.clone(), depth));
        Self {
            record: record.clone(),
            nth,
        }
    }

    /// Records that the response head has arrived.
    pub(crate) fn reached_body(&self) {
        if let Some(attempt) = self.attempt() {
            attempt.reached_body();
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

    /// Decides that the attempt was cancelled, unless its outcome has been decided.
    pub(crate) fn dropped(&self) -> Option<Outcome> {
        self.decide(&Ending::Dropped)
    }

    /// Decides the outcome from what the record knows, and returns the one that was decided first.
    ///
    /// Always returns one: the attempt is in the record for as long as the record lives. The `Option` spares the caller
    /// a panic that could never happen.
    fn decide(&self, ending: &Ending<'_>) -> Option<Outcome> {
        let attempt = self.attempt()?;
        let (stage, sent) = attempt.progress();
        let standing = Standing {
            stage,
            sent,
            upload_error: self.record.upload().error(),
            stopped: self.record.stopped(),
        };
        Some(attempt.decide(standing, ending))
    }

    /// Returns the attempt. Walks the list, which has one or two elements.
    fn attempt(&self) -> Option<&Attempt> {
        self.record.attempts().nth(self.nth)
    }
}

impl Drop for AttemptGuard {
    /// Decides that the attempt was cancelled if nothing else has been decided.
    fn drop(&mut self) {
        self.dropped();
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
        let guard = AttemptGuard::begin(&record, &"a".into(), 0);
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
        record.not_sent();
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
        guard.reached_body();
        guard.failed(&Error::new(ErrorKind::ResponseBody));
        assert_eq!(outcome(&record).stage(), Stage::Body);
        assert!(outcome(&record).is_failure() && outcome(&record).is_sent());
    }
}
