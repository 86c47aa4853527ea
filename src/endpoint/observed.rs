//! What the status tells of an endpoint's load.

use std::time::Duration;

use super::load::Load;
use crate::{health::Rate, telemetry::EndpointStats};

impl Load {
    /// Returns what is counted of its attempts.
    pub(crate) fn stats(&self) -> &EndpointStats {
        &self.stats
    }

    /// Returns the 50th, 90th and 99th percentile of how long recent attempts took to their response head.
    pub(crate) fn percentiles(&self) -> Option<[Duration; 3]> {
        self.stats.percentiles(self.siblings.now())
    }

    /// Returns the attempts of the last ten seconds.
    pub(crate) fn recent_rate(&self) -> Rate {
        self.ejection.rate(self.siblings.now())
    }

    /// Returns how long the next response head is expected to take, or `None` if too little is known.
    pub(crate) fn latency_estimate(&self) -> Option<Duration> {
        let (norms, now) = (self.siblings.norms()?, self.siblings.now());
        let wait = self.outstanding.wait(now);
        let total = self.requests.total();
        let estimate = self.latency.estimate(now, &norms, wait, total, false);
        let seconds = f64::from(estimate.exact * norms.median);
        estimate
            .known
            .then(|| Duration::from_secs_f64(seconds.min(1e9)))
    }
}
