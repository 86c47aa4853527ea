//! One sending of a request to one endpoint.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use super::outcome::{Ending, Outcome, Stage, Standing};

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

    /// Notes that a connection is waited for, and nothing has been sent.
    pub(super) fn not_sent(&self) {
        self.progress.store(Stage::Connect as u8, Relaxed);
    }

    /// Notes that the request is about to be written.
    pub(super) fn sending(&self) {
        self.progress.store(Stage::Head as u8 | SENT, Relaxed);
    }

    /// Notes that the response head is there.
    pub(super) fn reached_body(&self) {
        self.progress.store(Stage::Body as u8 | SENT, Relaxed);
    }

    /// How far the attempt has come, and whether anything was sent.
    pub(super) fn progress(&self) -> (Stage, bool) {
        let progress = self.progress.load(Relaxed);
        let stage = match progress & !SENT {
            0 => Stage::Connect,
            1 => Stage::Head,
            _ => Stage::Body,
        };
        (stage, progress & SENT != 0)
    }

    /// Decides the outcome, unless it is decided already, and returns it.
    pub(super) fn decide(&self, standing: Standing, ending: &Ending<'_>) -> Outcome {
        *self
            .outcome
            .get_or_init(|| Outcome::decide(standing, ending))
    }
}
