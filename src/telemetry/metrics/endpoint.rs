//! The metrics of one endpoint and its attempts.

use std::{
    ops::{Deref, DerefMut},
    ptr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

use http::Method;
use metrics::{Counter, Gauge, SharedString};

use super::{
    labels::{METHODS, MethodLabel, NO_CLUSTER, OutcomeLabel},
    names,
    register::{counter, gauge, histogram},
    series::{Chain, Series, SeriesKey},
};
use crate::record::{Attempt, AttemptGuard, EndpointId, Record};

/// The metrics of one endpoint. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct EndpointMetrics(Arc<EndpointInstruments>);

#[derive(Debug)]
struct EndpointInstruments {
    id: Arc<EndpointId>,
    /// What was last said about the availability, see [`told`]. 0 if nothing was.
    available: AtomicU8,
    /// Held by the thread that says something else.
    telling: Mutex<()>,
    /// Made at the first attempt.
    attempts: OnceLock<Box<AttemptInstruments>>,
}

/// The instruments of an endpoint's attempts.
#[derive(Debug)]
struct AttemptInstruments {
    in_flight: Gauge,
    sent: Counter,
    received: Counter,
    ended: [Chain<SeriesKey, Series>; METHODS],
}

impl EndpointMetrics {
    /// Returns those of an endpoint, or of a client that is used on its own.
    pub(crate) fn of_endpoint(id: &Arc<EndpointId>) -> Self {
        Self(Arc::new(EndpointInstruments {
            id: id.clone(),
            available: AtomicU8::new(0),
            telling: Mutex::default(),
            attempts: OnceLock::new(),
        }))
    }

    /// Counts an attempt that begins.
    pub(crate) fn began(&self) {
        self.0.attempts().in_flight.increment(1.0);
    }

    /// Counts an attempt with this method that [began](Self::began) and has ended. `end` returns it with its record.
    pub(crate) fn ended<'a>(
        &self,
        method: MethodLabel,
        end: impl FnOnce() -> Option<(&'a Record, &'a Attempt)>,
    ) {
        let Some((record, attempt)) = end() else {
            return;
        };
        let instruments = self.0.attempts();
        instruments.in_flight.decrement(1.0);
        let outcome = attempt
            .outcome()
            .map_or(OutcomeLabel::Failure, OutcomeLabel::of);
        let key = SeriesKey::new(attempt.status(), outcome);
        let series = instruments.ended[method as usize].get(&key, || self.0.series(method, key));
        series.count.increment(1);
        series
            .duration
            .record(attempt.duration().unwrap_or_default());
        let (sent, received) = (sent_by(record, attempt), attempt.response_bytes());
        if sent > 0 {
            instruments.sent.increment(sent);
        }
        if received > 0 {
            instruments.received.increment(received);
        }
    }

    /// Makes an attempt that has begun, and that no balancer counts, one that is counted.
    pub(crate) fn measured(&self, method: &Method, attempt: AttemptGuard) -> MeasuredAttempt {
        self.began();
        MeasuredAttempt(Box::new(OwnAttempt {
            attempt,
            method: MethodLabel::of(method),
            metrics: self.clone(),
        }))
    }

    /// Notes whether the endpoint is available.
    ///
    /// Of several threads that find that it has changed, the last one looks last.
    pub(crate) fn available(&self, is_well: impl Fn() -> bool) {
        if self.0.available.load(Relaxed) == told(is_well()) {
            return;
        }
        let turn = self.0.telling.lock();
        let is_well = is_well();
        self.0.available.store(told(is_well), Relaxed);
        gauge(&names::ENDPOINT_AVAILABLE, &self.0.labels()).set(f64::from(u8::from(is_well)));
        drop(turn);
    }

    /// Counts an ejection.
    pub(crate) fn ejected(&self, cause: &'static str) {
        let [cluster, endpoint] = self.0.labels();
        let labels = [cluster, endpoint, ("cause", cause.into())];
        counter(&names::EJECTIONS, &labels).increment(1);
    }

    /// Counts the end of an ejection.
    pub(crate) fn admitted(&self) {
        counter(&names::ADMISSIONS, &self.0.labels()).increment(1);
    }
}

impl EndpointInstruments {
    fn attempts(&self) -> &AttemptInstruments {
        self.attempts.get_or_init(|| {
            let labels = self.labels();
            Box::new(AttemptInstruments {
                in_flight: gauge(&names::ATTEMPTS_IN_FLIGHT, &labels),
                sent: counter(&names::SENT, &labels),
                received: counter(&names::RECEIVED, &labels),
                ended: Default::default(),
            })
        })
    }

    fn labels(&self) -> [(&'static str, SharedString); 2] {
        let cluster = self.id.cluster().cloned();
        [
            ("cluster", cluster.map_or(NO_CLUSTER.into(), Into::into)),
            ("endpoint", self.id.name().clone().into()),
        ]
    }

    fn series(&self, method: MethodLabel, key: SeriesKey) -> Series {
        let [cluster, endpoint] = self.labels();
        let labels = [
            cluster,
            endpoint,
            ("method", method.as_str().into()),
            ("status", key.status.as_str().into()),
            ("outcome", key.outcome.as_str().into()),
        ];
        Series {
            count: counter(&names::ATTEMPTS, &labels),
            duration: histogram(&names::CLIENT_DURATION, &labels),
        }
    }
}

/// Returns what stands for an availability that was said.
fn told(is_well: bool) -> u8 {
    1 + u8::from(is_well)
}

/// Returns the number of bytes of the request body that were sent by an attempt which ends now. 0 if a later one has
/// begun beside it: the upload on record is then that one's.
fn sent_by(record: &Record, attempt: &Attempt) -> u64 {
    let beside = record
        .attempts()
        .filter(|one| one.depth() == attempt.depth());
    match beside.last().is_some_and(|last| ptr::eq(last, attempt)) {
        true => record.upload().bytes(),
        false => 0,
    }
}

/// The attempt of a client that no balancer counts. Counts its end when it is dropped.
///
/// Boxed, since the futures and bodies of clients behind a balancer have room for it, too, and are moved around.
#[derive(Debug)]
pub(crate) struct MeasuredAttempt(Box<OwnAttempt>);

#[derive(Debug)]
struct OwnAttempt {
    attempt: AttemptGuard,
    method: MethodLabel,
    metrics: EndpointMetrics,
}

impl Deref for MeasuredAttempt {
    type Target = AttemptGuard;

    fn deref(&self) -> &AttemptGuard {
        &self.0.attempt
    }
}

impl DerefMut for MeasuredAttempt {
    fn deref_mut(&mut self) -> &mut AttemptGuard {
        &mut self.0.attempt
    }
}

impl Drop for OwnAttempt {
    fn drop(&mut self) {
        self.metrics.ended(self.method, || self.attempt.end());
    }
}
