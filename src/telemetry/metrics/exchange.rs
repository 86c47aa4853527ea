//! The metrics of the exchanges of a proxy.

use std::sync::{Arc, OnceLock};

use http::Method;
use metrics::Gauge;

use super::{
    labels::{METHODS, MethodLabel, NO_CLUSTER, OutcomeLabel},
    names,
    register::{counter, gauge, histogram},
    series::{Chain, Series, SeriesKey},
};
use crate::{
    error::ErrorKind,
    record::{Attempt, OnEnd, Record},
};

/// The metrics of the exchanges of one proxy and its clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExchangeMetrics(Arc<[OnceLock<Arc<ExchangeCounter>>; METHODS]>);

/// Counts the exchanges of one method.
///
/// The record of an exchange does not know its method, so there is an observer for each.
#[derive(Debug)]
struct ExchangeCounter {
    method: MethodLabel,
    in_flight: Gauge,
    /// A proxy may forward to several clusters, or to none.
    clusters: Chain<Option<Arc<str>>, Chain<SeriesKey, Series>>,
}

impl ExchangeMetrics {
    /// Counts an exchange that begins, and returns what counts its end.
    pub(crate) fn begin(&self, method: &Method) -> Option<Arc<dyn OnEnd>> {
        let method = MethodLabel::of(method);
        let counter = self.0[method as usize].get_or_init(|| {
            Arc::new(ExchangeCounter {
                method,
                in_flight: gauge(&names::REQUESTS_IN_FLIGHT, &[]),
                clusters: Chain::default(),
            })
        });
        counter.in_flight.increment(1.0);
        Some(counter.clone())
    }
}

impl OnEnd for ExchangeCounter {
    fn ended(&self, record: &Record) {
        self.in_flight.decrement(1.0);
        let last = record.outermost_attempt();
        let cluster = last.and_then(Attempt::cluster);
        let key = SeriesKey::new(record.status(), outcome(record, last));
        let series = self.clusters.get_by(
            |known| known.as_deref() == cluster,
            || (cluster.map(Into::into), Chain::default()),
        );
        let series = series.get(&key, || self.series(cluster, key));
        series.count.increment(1);
        series
            .duration
            .record(record.duration().unwrap_or_default());
    }
}

impl ExchangeCounter {
    fn series(&self, cluster: Option<&str>, key: SeriesKey) -> Series {
        let cluster: Arc<str> = cluster.unwrap_or(NO_CLUSTER).into();
        let labels = [
            ("cluster", cluster.into()),
            ("method", self.method.as_str().into()),
            ("status", key.status.as_str().into()),
            ("outcome", key.outcome.as_str().into()),
        ];
        Series {
            count: counter(&names::REQUESTS, &labels),
            duration: histogram(&names::SERVER_DURATION, &labels),
        }
    }
}

/// Returns how an exchange ended of which this is the decisive attempt.
fn outcome(record: &Record, last: Option<&Attempt>) -> OutcomeLabel {
    if let Some(kind) = record.error() {
        return OutcomeLabel::Error(kind);
    }
    match last.and_then(Attempt::outcome) {
        Some(outcome) => OutcomeLabel::of(outcome),
        // A service that is neither a cluster nor a client has answered, or the proxy itself.
        None if record.status().is_some() => OutcomeLabel::Success,
        None => OutcomeLabel::Error(ErrorKind::ClientGone),
    }
}
