//! One sending of a request to one endpoint, and the list of all of them.
//!
//! Attempts form a singly linked list that only grows. Its first element is stored in the record itself, so an exchange
//! with a single attempt, which nearly every exchange is, allocates nothing for the list.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU8, AtomicU16, Ordering::Relaxed},
};

use http::StatusCode;

use super::outcome::{Ending, Outcome, Stage, Standing};

/// One attempt of an exchange: the sending of its request to one endpoint.
///
/// [`Info::attempts`](super::Info::attempts) returns those of an exchange. It is a live view: the
/// [outcome](Self::outcome) appears when the attempt ends.
#[derive(Debug)]
pub struct Attempt {
    /// The endpoint's name, shared with the endpoint.
    endpoint: Arc<str>,
    /// How many clusters enclose the endpoint's own cluster.
    depth: u8,
    /// The index of the attempt of the enclosing cluster that this one is part of.
    parent: Option<usize>,
    /// A [`Stage`] before `Complete`, with the bit [`SENT`] once any part of the request may have been sent.
    ///
    /// Relaxed accesses suffice: it is written by the task that drives the attempt and read when that task, or the drop
    /// of its future or body, decides the outcome.
    progress: AtomicU8,
    /// The status of the response; 0 until its head has arrived.
    status: AtomicU16,
    /// Set once, at the end of the attempt.
    outcome: OnceLock<Outcome>,
    /// The attempt that started after this one. Attempts are only ever added, so the list needs no lock.
    next: OnceLock<Box<Self>>,
}

/// Set in an attempt's progress once the endpoint may have received a part of the request.
const SENT: u8 = 1 << 7;

impl Attempt {
    /// Returns an attempt whose endpoint is taken to have received the request.
    ///
    /// This holds for an endpoint that is a service of the user's, which cannot be asked. A client of this crate
    /// corrects it by [`not_sent`](Self::not_sent) while it has no connection yet.
    pub(super) fn new(endpoint: Arc<str>, depth: u8, parent: Option<usize>) -> Self {
        Self {
            endpoint,
            depth,
            parent,
            progress: AtomicU8::new(Stage::Head as u8 | SENT),
            status: AtomicU16::new(0),
            outcome: OnceLock::new(),
            next: OnceLock::new(),
        }
    }

    /// Appends an attempt to the list that begins at `first`, and returns its index.
    ///
    /// Safe to call from several threads: whichever loses a race continues at the next element.
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

    /// Returns the attempt that started after this one.
    pub(super) fn next(&self) -> Option<&Self> {
        self.next.get().map(AsRef::as_ref)
    }

    /// Returns the endpoint's name: its URL, unless it was given another.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the endpoint's name without copying it.
    pub(crate) fn shared_endpoint(&self) -> &Arc<str> {
        &self.endpoint
    }

    /// Returns how many clusters enclose the endpoint's own: 0, unless an endpoint of a cluster is a cluster itself.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth.into()
    }

    /// Returns the index of the attempt of the enclosing cluster.
    pub(super) fn parent(&self) -> Option<usize> {
        self.parent
    }

    /// Returns the status of the response, or `None` if no response head has arrived.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.status.load(Relaxed)).ok()
    }

    /// Returns how the attempt ended, or `None` while it is in progress.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome.get().copied()
    }

    /// Records that the attempt waits for a connection, and that nothing has been sent.
    pub(super) fn not_sent(&self) {
        self.progress.store(Stage::Connect as u8, Relaxed);
    }

    /// Records that the request is about to be written to a connection.
    pub(super) fn sending(&self) {
        self.progress.store(Stage::Head as u8 | SENT, Relaxed);
    }

    /// Records that the response head has arrived, with this status.
    pub(super) fn reached_body(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Relaxed);
        self.progress.store(Stage::Body as u8 | SENT, Relaxed);
    }

    /// Returns how far the attempt has come, and whether anything may have been sent.
    pub(super) fn progress(&self) -> (Stage, bool) {
        let progress = self.progress.load(Relaxed);
        let stage = match progress & !SENT {
            0 => Stage::Connect,
            1 => Stage::Head,
            _ => Stage::Body,
        };
        (stage, progress & SENT != 0)
    }

    /// Decides the outcome, unless it has been decided, and returns it.
    pub(super) fn decide(&self, standing: Standing, ending: &Ending<'_>) -> Outcome {
        *self
            .outcome
            .get_or_init(|| Outcome::decide(standing, ending))
    }
}
