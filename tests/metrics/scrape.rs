//! A recorder of a test's own, and what Prometheus would read of it.

use std::collections::{BTreeMap, BTreeSet};

use axum_upstream::metrics::DURATION_BUCKETS;
use metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use prometheus_parse::{Sample, Scrape, Value};

/// What is recorded on this thread for as long as it exists. A test has one runtime on one thread.
pub struct Metrics {
    handle: PrometheusHandle,
    _recorded: LocalRecorderGuard<'static>,
}

impl Metrics {
    pub fn new() -> Self {
        let durations = Matcher::Suffix("_duration_seconds".into());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(durations, &DURATION_BUCKETS)
            .unwrap()
            .build_recorder();
        // As long as the guard, which has no lifetime of its own.
        let recorder = Box::leak(Box::new(recorder));
        Self {
            handle: recorder.handle(),
            _recorded: metrics::set_default_local_recorder(recorder),
        }
    }

    pub fn text(&self) -> String {
        self.handle.render()
    }

    pub fn scrape(&self) -> Vec<Sample> {
        let text = self.text();
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        Scrape::parse(lines).unwrap().samples
    }

    /// The sum of the samples of this name that have these labels among theirs.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.scrape().into_iter();
        let has = |sample: &Sample| {
            let mut labels = labels.iter();
            labels.all(|(key, value)| sample.labels.get(key) == Some(value))
        };
        samples
            .filter(|sample| sample.metric == name && has(sample))
            .map(|sample| match sample.value {
                Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
                other => panic!("{name} is {other:?}"),
            })
            .sum()
    }

    /// The names of all metrics, each with its type and the keys of its labels.
    pub fn names(&self) -> BTreeMap<String, (&'static str, BTreeSet<String>)> {
        let samples = self.scrape().into_iter().filter_map(|sample| {
            let kind = match sample.value {
                Value::Counter(_) => "counter",
                Value::Gauge(_) => "gauge",
                Value::Histogram(_) => "histogram",
                Value::Summary(_) => "summary",
                // The sum and the count of a histogram.
                Value::Untyped(_) => return None,
            };
            Some((
                sample.metric,
                (kind, sample.labels.keys().cloned().collect()),
            ))
        });
        samples.collect()
    }
}
