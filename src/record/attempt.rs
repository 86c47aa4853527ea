//! One sending of a request to one endpoint, and the list of all of them.
//!
//! Attempts form a singly linked list that only grows. Its first element is stored in the record itself, so an exchange
//! with a single attempt, which nearly every exchange is, allocates nothing for the list.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;
use tracing::{Span, span::EnteredSpan};

use super::{
    endpoint_id::EndpointId,
    open_span::{AtEnd, OpenSpan},
    outcome::{Ending, Outcome, Stage, Standing},
};
use crate::{clock::Micros, error::ErrorKind};

#[cfg(feature = "status")]
use super::explanation::Explanation;

/// One attempt of an exchange: the sending of its request to one endpoint.
///
/// [`Info::attempts`](super::Info::attempts) returns those of an exchange. It is a live view: the
/// [outcome](Self::outcome) appears when the attempt ends.
#[derive(Debug)]
pub struct Attempt {
    /// The endpoint, which shares this with all its attempts.
    endpoint: Arc<EndpointId>,
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
    /// When the exchange began.
    exchange: Instant,
    beginning: Beginning,
    /// When the connection was there, by the clock of `beginning`; [`REUSED`] for one that was open. 0 before.
    connected: AtomicU64,
    /// When the response head arrived; 0 before.
    head: AtomicU64,
    /// When the attempt ended; 0 before.
    ended: AtomicU64,
    /// The number of bytes of response data that were received.
    received: AtomicU64,
    /// Set once, at the end of the attempt.
    outcome: OnceLock<Outcome>,
    /// Why its endpoint was picked, if that is asked for.
    #[cfg(feature = "status")]
    explanation: OnceLock<Box<Explanation>>,
    /// Open until the end, if spans are enabled.
    span: OpenSpan<Self>,
    /// The attempt that started after this one. Attempts are only ever added, so the list needs no lock.
    next: OnceLock<Box<Self>>,
}

/// When an attempt began, by the clock of the cluster that made it: what it has read already need not be read again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    /// The zero of that clock.
    pub(crate) epoch: Instant,
    pub(crate) at: Micros,
}

impl Beginning {
    /// Returns that of an attempt that begins now, and is made by no cluster.
    pub(crate) fn now() -> Self {
        Self {
            epoch: Instant::now(),
            at: 0,
        }
    }

    /// Reads the clock. Never 0, which stands for a time that is not known yet.
    fn clock(&self) -> Micros {
        u64::try_from(self.epoch.elapsed().as_micros())
            .unwrap_or(u64::MAX)
            .max(1)
    }
}

/// Stands for the time at which a connection was there that had been open before.
const REUSED: Micros = u64::MAX;

/// Set in an attempt's progress once the endpoint may have received a part of the request.
const SENT: u8 = 1 << 7;

impl Attempt {
    /// Returns an attempt whose endpoint is taken to have received the request.
    ///
    /// This holds for an endpoint that is a service of the user's, which cannot be asked. A client of this crate
    /// corrects it by [`not_sent`](Self::not_sent) while it has no connection yet.
    pub(super) fn new(
        endpoint: Arc<EndpointId>,
        depth: u8,
        parent: Option<usize>,
        exchange: Instant,
        beginning: Beginning,
    ) -> Self {
        Self {
            endpoint,
            depth,
            parent,
            progress: AtomicU8::new(Stage::Head as u8 | SENT),
            status: AtomicU16::new(0),
            exchange,
            beginning,
            connected: AtomicU64::new(0),
            head: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            received: AtomicU64::new(0),
            outcome: OnceLock::new(),
            #[cfg(feature = "status")]
            explanation: OnceLock::new(),
            span: OpenSpan::default(),
            next: OnceLock::new(),
        }
    }

    /// Appends an attempt to the list that begins at `first`, and returns its index.
    ///
    /// Safe to call from several threads: whichever loses a race continues at the next element. The first attempt is
    /// made where it stays: it is large, and nearly every exchange has no other.
    pub(super) fn append(first: &OnceLock<Self>, attempt: impl Fn() -> Self) -> usize {
        let mut is_first = false;
        let mut last = Some(first.get_or_init(|| {
            is_first = true;
            attempt()
        }));
        if is_first {
            return 0;
        }
        let (mut nth, mut attempt) = (1, Box::new(attempt()));
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
        self.endpoint.name()
    }

    /// Returns the [name](crate::balance::LoadBalanceBuilder::name) of the endpoint's cluster, or `None` for a client
    /// that is used without a balancer.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.endpoint.cluster().map(AsRef::as_ref)
    }

    /// Returns the endpoint's name without copying it.
    pub(crate) fn shared_endpoint(&self) -> &Arc<str> {
        self.endpoint.name()
    }

    /// Returns the URL that the endpoint is reached by, or `None` for a service that is no client of this crate.
    pub(crate) fn url(&self) -> Option<&Arc<str>> {
        self.endpoint.url()
    }

    /// Returns how many clusters enclose the endpoint's own: 0, unless an endpoint of a cluster is a cluster itself.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth.into()
    }

    /// Returns whether another attempt of the same exchange was answered first.
    pub(super) fn is_superseded(&self) -> bool {
        let error = self.outcome().and_then(|outcome| outcome.error());
        error == Some(ErrorKind::Superseded)
    }

    /// Returns the index of the attempt of the enclosing cluster.
    pub(crate) fn parent(&self) -> Option<usize> {
        self.parent
    }

    /// Returns the status of the response, or `None` if no response head has arrived.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.status.load(Relaxed)).ok()
    }

    /// Returns why its endpoint was picked: what was compared, and by which rule. `None` unless the cluster was
    /// [asked for that](crate::balance::LoadBalanceBuilder::explain).
    #[cfg(feature = "status")]
    #[must_use]
    pub fn explanation(&self) -> Option<&Explanation> {
        self.explanation.get().map(AsRef::as_ref)
    }

    /// Adds why its endpoint was picked.
    #[cfg(feature = "status")]
    pub(super) fn explain(&self, explanation: Box<Explanation>) {
        // Called once, before anything else can have the attempt.
        let _ = self.explanation.set(explanation);
    }

    /// Returns how the attempt ended, or `None` while it is in progress.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome.get().copied()
    }

    /// Returns how long after the beginning of the exchange the attempt began. For the first attempt, that is the time
    /// that the exchange has waited for an endpoint.
    #[must_use]
    pub fn started(&self) -> Duration {
        let begun = self.beginning.epoch + Duration::from_micros(self.beginning.at);
        begun.saturating_duration_since(self.exchange)
    }

    /// Returns how long it took to open a connection, from the beginning of the attempt; zero if one was
    /// [reused](Self::is_reused). `None` until there is a connection, and for an endpoint that is a service of your
    /// own.
    #[must_use]
    pub fn connected(&self) -> Option<Duration> {
        match self.connected.load(Relaxed) {
            REUSED => Some(Duration::ZERO),
            connected => self.since_begun(connected),
        }
    }

    /// Returns whether the attempt used a connection that had been open before.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.connected.load(Relaxed) == REUSED
    }

    /// Returns how long it took until the response head arrived, from the beginning of the attempt. `None` if it has
    /// not, or never did.
    #[must_use]
    pub fn time_to_head(&self) -> Option<Duration> {
        self.since_begun(self.head.load(Relaxed))
    }

    /// Returns how long the attempt took, to the last byte of its response or to its failure. `None` while it is in
    /// progress.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.since_begun(self.ended.load(Relaxed))
    }

    /// Returns the number of bytes of response data that were received so far. Heads,
    /// trailers and the framing are not counted, nor is what passed through a tunnel.
    #[must_use]
    pub fn response_bytes(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Returns the time from the beginning of the attempt to a time of its clock. `None` for 0, which is not known yet.
    fn since_begun(&self, at: Micros) -> Option<Duration> {
        (at > 0).then(|| Duration::from_micros(at.saturating_sub(self.beginning.at)))
    }

    /// Returns whether the attempt has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed) > 0
    }

    /// Returns when the attempt ended.
    pub(super) fn ended(&self) -> Option<Instant> {
        let ended = self.ended.load(Relaxed);
        (ended > 0).then(|| self.beginning.epoch + Duration::from_micros(ended))
    }

    /// Counts bytes of response data.
    pub(super) fn receive(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    /// Records that the attempt ends now.
    pub(super) fn end(&self) {
        self.ended.store(self.beginning.clock(), Relaxed);
        self.span.close(self);
    }

    /// Keeps a span until the attempt has ended, and has `at_end` called then.
    pub(crate) fn open_span(&self, span: Span, at_end: AtEnd<Self>) {
        self.span.open(span, at_end);
    }

    /// Returns the span of the attempt, if it is enabled and open.
    pub(crate) fn span(&self) -> Option<Span> {
        self.span.get()
    }

    /// Enters the span of the attempt, if it is enabled and open.
    pub(super) fn enter(&self) -> Option<EnteredSpan> {
        self.span.enter()
    }

    /// Records that the attempt waits for a connection, and that nothing has been sent.
    pub(super) fn not_sent(&self) {
        self.progress.store(Stage::Connect as u8, Relaxed);
    }

    /// Records that the request is about to be written to a connection, which may be one that was open before.
    pub(super) fn sending(&self, reused: bool) {
        let connected = match reused {
            true => REUSED,
            false => self.beginning.clock(),
        };
        self.connected.store(connected, Relaxed);
        self.progress.store(Stage::Head as u8 | SENT, Relaxed);
    }

    /// Records that the response head has arrived, with this status, and when, by the clock of the attempt.
    pub(super) fn reached_body(&self, status: StatusCode, at: Option<Micros>) {
        let at = at.unwrap_or_else(|| self.beginning.clock());
        self.head.store(at.max(1), Relaxed);
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

#[cfg(test)]
impl Attempt {
    /// Returns an attempt that begins now, in an exchange that does.
    pub(super) fn of(endpoint: &str, depth: u8) -> Self {
        let endpoint = Arc::new(EndpointId::new(None, endpoint.into()));
        Self::new(endpoint, depth, None, Instant::now(), Beginning::now())
    }
}
