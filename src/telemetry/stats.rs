//! What is counted of each endpoint and cluster, for the status.
//!
//! All counters are relaxed atomics, each of which is written once per attempt. Locks are taken when an attempt has
//! failed or an endpoint changes its state, and held for an insertion.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use http::StatusCode;

use super::{
    percentiles::RecentLatencies,
    report::{DiscoveryReport, LastError, StatusCounts},
};
use crate::{
    clock::Micros,
    error::Error,
    record::{AttemptGuard, Outcome},
};

/// How many errors are kept of an endpoint.
const LAST_ERRORS: usize = 5;

/// The longest text that is kept of an error, in bytes.
const LONGEST: usize = 300;

/// What is counted of the attempts at one endpoint.
#[derive(Debug, Default)]
pub(crate) struct EndpointStats {
    ended: AtomicU64,
    failed: AtomicU64,
    /// By the first digit of the status.
    statuses: [AtomicU64; 5],
    sent: AtomicU64,
    received: AtomicU64,
    latencies: RecentLatencies,
    failures: Mutex<Failures>,
    changed: Mutex<Option<Change>>,
}

/// What is kept of the failures of an endpoint.
#[derive(Debug, Default)]
struct Failures {
    by_kind: BTreeMap<&'static str, u64>,
    last: VecDeque<LastError>,
}

/// The last change of an endpoint's state.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) at: SystemTime,
    pub(crate) cause: Option<Arc<str>>,
}

impl EndpointStats {
    /// Counts a response head that has arrived at `now`, to a request that the endpoint had as a whole at `sent`, if it
    /// had.
    pub(crate) fn answered(&self, status: StatusCode, now: Micros, sent: Option<Micros>) {
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        if let Some(count) = self.statuses.get(class) {
            count.fetch_add(1, Relaxed);
        }
        if let Some(sent) = sent {
            self.latencies.add(now, now.saturating_sub(sent));
        }
    }

    /// Counts an attempt that has an outcome, and keeps the error that led to it if the endpoint has failed.
    pub(crate) fn decided(&self, outcome: &Outcome, error: Option<&Error>) {
        self.ended.fetch_add(1, Relaxed);
        if !outcome.is_failure() {
            return;
        }
        self.failed.fetch_add(1, Relaxed);
        let kind = outcome.error().map_or("status", |kind| kind.as_str());
        let message = match (error, outcome.status()) {
            (Some(error), _) => chain(error),
            (None, Some(status)) => status.to_string(),
            (None, None) => kind.to_owned(),
        };
        let mut failures = lock(&self.failures);
        *failures.by_kind.entry(kind).or_default() += 1;
        failures.last.truncate(LAST_ERRORS - 1);
        failures.last.push_front(LastError {
            at: SystemTime::now(),
            error: kind,
            message,
        });
    }

    /// Counts the bytes of an attempt that is over.
    pub(crate) fn transferred(&self, attempt: &AttemptGuard) {
        let (sent, received) = attempt.bytes();
        for (count, bytes) in [(&self.sent, sent), (&self.received, received)] {
            // Most requests have no body.
            if bytes > 0 {
                count.fetch_add(bytes, Relaxed);
            }
        }
    }

    /// Notes that the state of the endpoint changes now.
    pub(crate) fn changed(&self, cause: Option<Arc<str>>) {
        let at = SystemTime::now();
        *lock(&self.changed) = Some(Change { at, cause });
    }

    /// Returns the last change of the state.
    pub(crate) fn last_change(&self) -> Option<Change> {
        lock(&self.changed).clone()
    }

    /// Returns the text of the last error.
    pub(crate) fn last_error(&self) -> Option<String> {
        let failures = lock(&self.failures);
        failures.last.front().map(|last| last.message.clone())
    }

    /// Returns the number of attempts that have ended, and of those that failed.
    pub(crate) fn attempts(&self) -> (u64, u64) {
        (self.ended.load(Relaxed), self.failed.load(Relaxed))
    }

    /// Returns the number of bytes sent and received.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Relaxed), self.received.load(Relaxed))
    }

    /// Returns the number of response heads by the class of their status.
    pub(crate) fn statuses(&self) -> StatusCounts {
        let [
            informational,
            success,
            redirection,
            client_error,
            server_error,
        ] = std::array::from_fn(|nth| self.statuses[nth].load(Relaxed));
        StatusCounts {
            informational,
            success,
            redirection,
            client_error,
            server_error,
        }
    }

    /// Returns the number of failures by their kind, and the last ones.
    pub(crate) fn errors(&self) -> (BTreeMap<&'static str, u64>, Vec<LastError>) {
        let failures = lock(&self.failures);
        (
            failures.by_kind.clone(),
            failures.last.iter().cloned().collect(),
        )
    }

    /// Returns the 50th, 90th and 99th percentile of how long recent attempts took to their response head. `None`
    /// without any.
    pub(crate) fn percentiles(&self, now: Micros) -> Option<[Duration; 3]> {
        self.latencies.get(now, [0.5, 0.9, 0.99])
    }
}

/// What is counted of a cluster.
#[derive(Debug, Default)]
pub(crate) struct ClusterStats {
    requests: AtomicU64,
    retries: AtomicU64,
    hedges: AtomicU64,
    /// `None` without a discovery.
    discovery: Mutex<Option<DiscoveryReport>>,
}

impl ClusterStats {
    /// Counts a request of a client.
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Counts an attempt that follows a failed one.
    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Counts an attempt beside another one.
    pub(crate) fn hedge(&self) {
        self.hedges.fetch_add(1, Relaxed);
    }

    /// Notes that a discovery begins, which has reported nothing yet.
    pub(crate) fn follow(&self) {
        *lock(&self.discovery) = Some(DiscoveryReport::default());
    }

    /// Notes that the discovery has reported.
    pub(crate) fn discovered(&self) {
        if let Some(discovery) = &mut *lock(&self.discovery) {
            discovery.last_success = Some(SystemTime::now());
            discovery.failures_in_a_row = 0;
        }
    }

    /// Takes over what was known of the same discovery, unless it has reported here.
    #[cfg(feature = "config")]
    pub(crate) fn continue_discovery(&self, former: &Self) {
        let former = former.discovery().unwrap_or_default();
        if let Some(discovery) = &mut *lock(&self.discovery) {
            if discovery.last_success.is_none() {
                discovery.last_success = former.last_success;
                discovery.failures_in_a_row += former.failures_in_a_row;
                discovery.last_error = discovery.last_error.take().or(former.last_error);
            }
        }
    }

    /// Notes that the discovery has failed.
    pub(crate) fn discovery_failed(&self, error: &(dyn std::error::Error + 'static)) {
        if let Some(discovery) = &mut *lock(&self.discovery) {
            discovery.failures_in_a_row += 1;
            discovery.last_error = Some(LastError {
                at: SystemTime::now(),
                error: "discovery",
                message: chain(error),
            });
        }
    }

    /// Returns what is known of the discovery, if there is one.
    pub(crate) fn discovery(&self) -> Option<DiscoveryReport> {
        lock(&self.discovery).clone()
    }

    /// Returns the number of requests, of retries, and of attempts beside another one.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let [requests, retries, hedges] =
            [&self.requests, &self.retries, &self.hedges].map(|count| count.load(Relaxed));
        (requests, retries, hedges)
    }
}

/// Locks what a panic cannot have left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the text of an error with those of its sources, cut to a bounded length.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source.filter(|_| text.len() < LONGEST) {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let end = (0..=LONGEST.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
    text
}
