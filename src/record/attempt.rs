//! One sending of a request to one endpoint.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use super::{
    exchange::Record,
    outcome::{Ending, Outcome, Stage, Verdict},
};
use crate::error::Error;

/// One attempt of an exchange: the sending of its request to one endpoint.
#[derive(Debug)]
pub struct Attempt {
    endpoint: Arc<str>,
    depth: u8,
    /// A [`Stage`], and [`SENT`] once anything may have left.
    progress: AtomicU8,
    outcome: OnceLock<Outcome>,
    /// The attempt that began after this one. Attempts are only ever added, so a list without locks does.
    next: OnceLock<Box<Self>>,
}

/// Set in an attempt's progress once the endpoint may have seen a part of the request.
const SENT: u8 = 1 << 7;

impl Attempt {
    /// An attempt whose endpoint is taken to have the request, until a client says that it is still connecting.
    pub(super) fn new(endpoint: Arc<str>, depth: u8) -> Self {
        Self {
            endpoint,
            depth,
            progress: AtomicU8::new(Stage::Head as u8 | SENT),
            outcome: OnceLock::new(),
            next: OnceLock::new(),
        }
    }

    /// Appends to the list that begins at `first`, and returns the attempt's place in it.
    pub(super) fn append(first: &OnceLock<Self>, attempt: Self) -> usize {
        let Err(attempt) = first.set(attempt) else {
            return 0;
        };
        let (mut nth, mut attempt) = (1, Box::new(attempt));
        let mut last = first.get();
        while let Some(before) = last {
            match before.next.set(attempt) {
                Ok(()) => return nth,
                Err(back) => attempt = back,
            }
            (nth, last) = (nth + 1, before.next());
        }
        nth
    }

    pub(super) fn next(&self) -> Option<&Self> {
        self.next.get().map(AsRef::as_ref)
    }

    /// The endpoint's name: its URL, unless it was given another.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn shared_endpoint(&self) -> &Arc<str> {
        &self.endpoint
    }

    /// How many clusters stand above the endpoint's own: 0, unless an endpoint of a cluster is a cluster itself.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth.into()
    }

    /// How the attempt ended; `None` while it is under way.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome.get().copied()
    }

    fn stage(&self) -> Stage {
        match self.progress.load(Relaxed) & !SENT {
            0 => Stage::Connect,
            1 => Stage::Head,
            2 => Stage::Body,
            _ => Stage::Complete,
        }
    }

    fn is_sent(&self) -> bool {
        self.progress.load(Relaxed) & SENT != 0
    }

    /// Notes that a connection is waited for, and nothing has been sent.
    pub(super) fn not_sent(&self) {
        self.progress.store(Stage::Connect as u8, Relaxed);
    }

    /// Notes that the request is about to be written.
    pub(super) fn sending(&self) {
        self.progress.store(Stage::Head as u8 | SENT, Relaxed);
    }
}

/// An attempt under way. However it ends, its outcome is decided exactly once: by the drop, if by nothing else.
#[derive(Debug)]
pub(crate) struct AttemptGuard {
    record: Arc<Record>,
    nth: usize,
}

impl AttemptGuard {
    pub(super) fn new(record: Arc<Record>, nth: usize) -> Self {
        Self { record, nth }
    }

    /// Notes that the response head is there.
    pub(crate) fn reached_body(&self) {
        if let Some(attempt) = self.attempt() {
            attempt.progress.store(Stage::Body as u8 | SENT, Relaxed);
        }
    }

    /// Decides that the attempt ended with a response that says this, unless it is decided already.
    pub(crate) fn answered(&self, verdict: Verdict) -> Option<Outcome> {
        self.decide(&Ending::Answered(verdict))
    }

    /// Decides that the attempt failed, unless it is decided already.
    pub(crate) fn failed(&self, error: &Error) -> Option<Outcome> {
        self.decide(&Ending::Failed(error))
    }

    /// Decides that the attempt was dropped half way, unless it is decided already.
    pub(crate) fn dropped(&self) -> Option<Outcome> {
        self.decide(&Ending::Dropped)
    }

    /// Returns the outcome, the one that was decided first. An attempt is in its record for as long as the record
    /// lives, so there always is one.
    fn decide(&self, ending: &Ending<'_>) -> Option<Outcome> {
        let attempt = self.attempt()?;
        let decide = || Outcome::decide(&self.record, attempt.stage(), attempt.is_sent(), ending);
        Some(*attempt.outcome.get_or_init(decide))
    }

    fn attempt(&self) -> Option<&Attempt> {
        self.record.attempts().nth(self.nth)
    }
}

impl Drop for AttemptGuard {
    fn drop(&mut self) {
        self.dropped();
    }
}
