//! The metrics of one cluster: retries, its queue, its discovery.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use metrics::{Gauge, SharedString};

use super::{
    names::{self, Description},
    register::{counter, gauge},
};
use crate::clock::Micros;

/// How often the gauge of the budget is set: 100 ms, in microseconds.
const BUDGET_INTERVAL: Micros = 100_000;

/// The metrics of one cluster.
#[derive(Debug)]
pub(crate) struct ClusterMetrics {
    cluster: Arc<str>,
    queued: OnceLock<Gauge>,
    /// When the gauge of the budget has to be set again.
    budget_due: AtomicU64,
}

impl ClusterMetrics {
    /// Returns those of the cluster of this name.
    pub(crate) fn of_cluster(name: &Arc<str>) -> Self {
        Self {
            cluster: name.clone(),
            queued: OnceLock::new(),
            budget_due: AtomicU64::new(0),
        }
    }

    /// Counts an attempt that follows a failed one.
    pub(crate) fn retried(&self) {
        self.count(&names::RETRIES);
    }

    /// Counts an attempt beside a slow one.
    pub(crate) fn hedged(&self) {
        self.count(&names::HEDGES);
    }

    /// Counts an attempt for which the budget was asked, unless it was `granted`. Its gauge is set with the next
    /// request.
    pub(crate) fn withdrew(&self, granted: bool) {
        if !granted {
            self.count(&names::RETRIES_DENIED);
        }
        self.budget_due.store(0, Relaxed);
    }

    /// Sets the gauge of the budget of retries, if that was not done a moment ago.
    pub(crate) fn budget(&self, now: Micros, left: impl FnOnce() -> f64) {
        if now >= self.budget_due.load(Relaxed) {
            self.budget_due
                .store(now.saturating_add(BUDGET_INTERVAL), Relaxed);
            gauge(&names::RETRY_BUDGET, &self.labels()).set(left());
        }
    }

    /// Counts a request as waiting in the queue until what is returned is dropped.
    pub(crate) fn queued(&self) -> QueuedRequest {
        let gauge = self
            .queued
            .get_or_init(|| gauge(&names::QUEUE_LENGTH, &self.labels()));
        gauge.increment(1.0);
        QueuedRequest(gauge.clone())
    }

    /// Counts a request that the queue has not taken or has given up.
    pub(crate) fn queue_rejected(&self, cause: &'static str) {
        let [cluster] = self.labels();
        let labels = [cluster, ("cause", cause.into())];
        counter(&names::QUEUE_REJECTIONS, &labels).increment(1);
    }

    /// Notes that discovery has reported.
    pub(crate) fn discovered(&self) {
        // Before 1970 is no time for a proxy to run.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        gauge(&names::DISCOVERY_SUCCESS, &self.labels()).set(since.unwrap_or_default());
    }

    /// Counts an error of discovery.
    pub(crate) fn discovery_failed(&self) {
        self.count(&names::DISCOVERY_FAILURES);
    }

    fn count(&self, what: &Description) {
        counter(what, &self.labels()).increment(1);
    }

    fn labels(&self) -> [(&'static str, SharedString); 1] {
        [("cluster", self.cluster.clone().into())]
    }
}

/// A request that waits in the queue.
#[derive(Debug)]
pub(crate) struct QueuedRequest(Gauge);

impl Drop for QueuedRequest {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
