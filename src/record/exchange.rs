//! The record of one exchange.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU16, AtomicU64,
            Ordering::{Relaxed, SeqCst},
            fence,
        },
    },
    time::Duration,
};

use http::StatusCode;

use tokio::{sync::watch, time::Instant};
use tracing::{Span, span::EnteredSpan};

use super::{
    attempt::Attempt,
    client::ClientFacts,
    open_span::{AtEnd, OpenSpan, spans_are_wanted},
    upload::{Upload, UploadState},
};
use crate::error::ErrorKind;

/// Told of the end of exchanges, once for each.
pub(crate) trait OnEnd: std::fmt::Debug + Send + Sync {
    /// Called by the task that ends the exchange; must not block.
    fn ended(&self, record: &Record);
}

/// Everything that is known of one exchange.
///
/// One `Arc` holds it from the arrival of the request to the last byte of the response, or to the end of its tunnel.
#[derive(Debug)]
pub(crate) struct Record {
    /// When the exchange began. The total timeout, and the times in `upload`, count from here.
    start: Instant,
    client: ClientFacts,
    upload: Upload,
    /// Why the proxy itself gave the exchange up. Set at most once.
    stopped: OnceLock<ErrorKind>,
    /// Why the client was given no response of an endpoint, or left before it had one.
    failed: OnceLock<ErrorKind>,
    /// Whether the exchange went on as a tunnel, which has ended.
    complete: AtomicBool,
    /// The status of the response that the client is sent; 0 before.
    status: AtomicU16,
    /// The number of bytes of response data that were passed on.
    received: AtomicU64,
    /// Whether the exchange has ended.
    finished: AtomicBool,
    /// How long it took, in microseconds, if it did not end with its last attempt.
    ended_after: AtomicU64,
    /// Told of the end of the exchange.
    observer: Option<Arc<dyn OnEnd>>,
    /// Open until the end, if spans are enabled.
    span: OpenSpan<Self>,
    /// Made when a task waits for the end.
    ended: OnceLock<watch::Sender<()>>,
    /// The first attempt; the others follow through `Attempt::next`.
    attempts: OnceLock<Attempt>,
}

impl Record {
    /// Returns the record of an exchange that begins now.
    pub(crate) fn new(client: ClientFacts) -> Self {
        Self::observed(client, None)
    }

    /// Returns the record of an exchange that begins now, and whose end is told to `observer`.
    pub(crate) fn observed(client: ClientFacts, observer: Option<Arc<dyn OnEnd>>) -> Self {
        Self {
            start: Instant::now(),
            client,
            upload: Upload::default(),
            stopped: OnceLock::new(),
            failed: OnceLock::new(),
            complete: AtomicBool::new(false),
            status: AtomicU16::new(0),
            received: AtomicU64::new(0),
            finished: AtomicBool::new(false),
            ended_after: AtomicU64::new(0),
            observer,
            span: OpenSpan::default(),
            ended: OnceLock::new(),
            attempts: OnceLock::new(),
        }
    }

    /// Returns when the exchange began.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// Returns what is known of the client.
    pub(crate) fn client(&self) -> &ClientFacts {
        &self.client
    }

    /// Returns the progress of the request body.
    pub(crate) fn upload(&self) -> &Upload {
        &self.upload
    }

    /// Begins an upload of the request body, the first one or another one, in this state. Returns its generation, by
    /// which its body is known from now on; the bodies of earlier ones record nothing any more.
    pub(crate) fn begin_upload(&self, state: UploadState) -> u32 {
        self.upload.begin(self.start, state)
    }

    /// Records that the request body has moved to `state` now, if its upload is still the latest.
    pub(crate) fn touch_upload(&self, generation: u32, state: UploadState) {
        self.upload.touch(self.start, generation, state);
    }

    /// Counts bytes of the request body that move, if its upload is still the latest.
    pub(crate) fn sent(&self, generation: u32, bytes: u64) {
        self.upload.add(generation, bytes);
    }

    /// Returns when the request body last moved, or the beginning of the exchange if it never has.
    pub(crate) fn upload_moved(&self) -> Instant {
        self.upload.last_moved(self.start)
    }

    /// Records why the proxy gives the exchange up, before it drops the attempt in progress: the drop then knows that a
    /// deadline, and not the client, ended the attempt.
    ///
    /// Only the first reason is kept.
    pub(crate) fn stop(&self, kind: ErrorKind) {
        // A later deadline may pass while the exchange is torn down.
        let _ = self.stopped.set(kind);
    }

    /// Returns why the proxy gave the exchange up, or `None` if it did not.
    pub(crate) fn stopped(&self) -> Option<ErrorKind> {
        self.stopped.get().copied()
    }

    /// Records that the client was given an error of this kind in place of a response, or has left before it had one.
    ///
    /// Unlike [`stop`](Self::stop), it says nothing about an attempt that is still in progress.
    pub(crate) fn fail(&self, kind: ErrorKind) {
        let _ = self.failed.set(kind);
    }

    /// Returns why the exchange failed, or `None` if it has not.
    ///
    /// An attempt counts if none came after it, those that lost against another one aside.
    pub(crate) fn error(&self) -> Option<ErrorKind> {
        let of_attempt = || {
            let outcome = self.last_attempt().and_then(Attempt::outcome);
            outcome.and_then(|outcome| outcome.error())
        };
        let failed = self.failed.get().copied();
        failed.or_else(|| self.stopped()).or_else(of_attempt)
    }

    /// Keeps a span until the exchange has ended, and has `at_end` called then.
    pub(crate) fn open_span(&self, span: Span, at_end: AtEnd<Self>) {
        self.span.open(span, at_end);
    }

    /// Returns the span of the exchange, if it is enabled and open.
    pub(crate) fn span(&self) -> Option<Span> {
        self.span.get()
    }

    /// Enters the span of the exchange, if it is enabled and open.
    #[inline]
    pub(crate) fn enter(&self) -> Option<EnteredSpan> {
        match spans_are_wanted() {
            true => self.span.enter(),
            false => None,
        }
    }

    /// Records that the tunnel which the exchange has become has ended: what is dropped from now on is complete.
    pub(crate) fn complete(&self) {
        self.complete.store(true, Relaxed);
    }

    /// Returns whether the exchange was a tunnel, which has ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Relaxed)
    }

    /// Records the status of the response that the client is sent.
    pub(crate) fn set_status(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Relaxed);
    }

    /// Returns the status of the response that the client is sent, or `None` if there is none yet.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.status.load(Relaxed)).ok()
    }

    /// Counts bytes of response data that were passed on.
    pub(crate) fn passed_on(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    /// Returns the number of bytes of response data that were passed on.
    pub(crate) fn response_bytes(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Records that the exchange has ended, with its last attempt if it had one. Only the first call counts.
    pub(super) fn finish(&self) {
        if self.finished.swap(true, SeqCst) {
            return;
        }
        // Nearly always known already, and then the clock is not read.
        if self.last_attempt().is_none_or(|last| !last.has_ended()) {
            let micros = u64::try_from(self.start.elapsed().as_micros());
            self.ended_after.store(micros.unwrap_or(u64::MAX), Relaxed);
        }
        if let Some(observer) = &self.observer {
            observer.ended(self);
        }
        self.span.close(self);
        // Either the channel is seen here, or the end by the task that has made it just now.
        fence(SeqCst);
        if let Some(ended) = self.ended.get() {
            ended.send_replace(());
        }
    }

    /// Returns how long the exchange took, to the last byte of the response or the end of its tunnel. `None` before.
    pub(crate) fn duration(&self) -> Option<Duration> {
        if !self.finished.load(SeqCst) {
            return None;
        }
        let last = self.last_attempt().and_then(Attempt::ended);
        let after = Duration::from_micros(self.ended_after.load(Relaxed));
        Some(last.map_or(after, |ended| {
            ended.saturating_duration_since(self.start).max(after)
        }))
    }

    /// Completes when the exchange has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub(crate) async fn ended(&self) {
        let channel = self.ended.get_or_init(|| watch::Sender::new(()));
        let mut ended = channel.subscribe();
        fence(SeqCst);
        if self.duration().is_none() {
            // The sender is part of `self`, so it is not gone.
            let _ = ended.changed().await;
        }
    }

    /// Returns all attempts, in the order in which they began.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        std::iter::successors(self.attempts.get(), |attempt| attempt.next())
    }

    /// Returns the attempts that count, in the order in which they began: all but those that have lost against another
    /// one, as with hedging, and those inside of them.
    pub(crate) fn standing_attempts(&self) -> impl Iterator<Item = &Attempt> {
        let lost = |nth| self.attempts_around(Some(nth)).any(Attempt::is_superseded);
        let all = self.attempts().enumerate();
        all.filter(move |(nth, _)| !lost(*nth))
            .map(|(_, attempt)| attempt)
    }

    /// Returns the attempt that began last, of those that [count](Self::standing_attempts). Where clusters are nested,
    /// it is the innermost attempt in progress.
    pub(crate) fn last_attempt(&self) -> Option<&Attempt> {
        self.standing_attempts().last()
    }

    /// Returns the attempt of the outermost cluster whose response was passed on, or that was made last.
    pub(crate) fn outermost_attempt(&self) -> Option<&Attempt> {
        let outermost = self.standing_attempts();
        outermost.filter(|attempt| attempt.depth() == 0).last()
    }

    /// Records that nothing of the request has been sent by the attempt at index `nth` and those that it is part of:
    /// where clusters are nested, one of each cluster around it.
    pub(crate) fn not_sent(&self, nth: Option<usize>) {
        self.attempts_around(nth).for_each(Attempt::not_sent);
    }

    /// Records that the request is about to be written to a connection, for the same attempts. `reused` is whether the
    /// connection was open before.
    pub(crate) fn sending(&self, nth: Option<usize>, reused: bool) {
        self.attempts_around(nth)
            .for_each(|attempt| attempt.sending(reused));
    }

    /// Returns the attempt at index `nth`, the one that it is part of, and so on outward. Attempts at the same time,
    /// as with hedging, are not among them.
    fn attempts_around(&self, nth: Option<usize>) -> impl Iterator<Item = &Attempt> {
        let at = |nth: Option<usize>| nth.and_then(|nth| self.attempts().nth(nth));
        std::iter::successors(at(nth), move |attempt| at(attempt.parent()))
    }

    /// Adds an attempt, and returns its index among all.
    pub(super) fn push(&self, attempt: impl Fn() -> Attempt) -> usize {
        Attempt::append(&self.attempts, attempt)
    }
}

/// Ends an exchange when it is dropped.
///
/// The part with which the exchange began has it: a proxy, or a balancer or client that is used without one. It moves
/// on with the response, and is dropped after the guard of the last attempt, when the last byte has been passed on.
#[derive(Debug)]
pub(crate) struct ExchangeGuard {
    /// `None` once the end is up to another part.
    record: Option<Arc<Record>>,
}

impl ExchangeGuard {
    /// Returns the guard of an exchange. There must be one.
    pub(crate) fn new(record: Arc<Record>) -> Self {
        let record = Some(record);
        Self { record }
    }

    /// Returns the record of the exchange.
    pub(crate) fn record(&self) -> Option<&Arc<Record>> {
        self.record.as_ref()
    }

    /// Leaves it to another part to end the exchange.
    pub(super) fn hand_over(mut self) {
        self.record = None;
    }
}

impl Drop for ExchangeGuard {
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            record.finish();
        }
    }
}

/// The record of a request that no proxy has received: nothing is known of its client.
impl Default for Record {
    fn default() -> Self {
        Self::new(ClientFacts::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_stand_in_the_order_of_their_beginning() {
        let record = Record::default();
        let nths = ["a", "b", "c"].map(|name| record.push(|| Attempt::of(name, 0)));
        let names: Vec<_> = record.attempts().map(Attempt::endpoint).collect();
        assert_eq!((nths, &names[..]), ([0, 1, 2], &["a", "b", "c"][..]));
    }

    #[test]
    fn the_first_reason_to_stop_stays() {
        let record = Record::default();
        record.stop(ErrorKind::ResponseTimeout);
        record.stop(ErrorKind::TotalTimeout);
        assert_eq!(record.stopped(), Some(ErrorKind::ResponseTimeout));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_told_to_all_who_wait() {
        let record = Arc::<Record>::default();
        let guard = ExchangeGuard::new(record.clone());
        let wait = || {
            let record = record.clone();
            tokio::spawn(async move { record.ended().await })
        };
        let (one, other) = (wait(), wait());
        tokio::time::advance(Duration::from_millis(5)).await;
        assert_eq!(record.duration(), None);
        drop(guard);
        one.await.unwrap();
        other.await.unwrap();
        wait().await.unwrap();
        assert_eq!(record.duration(), Some(Duration::from_millis(5)));
    }
}
