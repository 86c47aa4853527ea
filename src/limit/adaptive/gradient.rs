//! `Gradient2`, with phases in which its baseline is measured.
//!
//! The baseline is how long requests take when none waits for another. Netflix's `Gradient2` has a slow average for
//! it, which under lasting load rises with the latency that it is to judge, and the limit with it. Envoy lowers the
//! limit for a moment and measures. This is what happens here:
//!
//! - *Following*: each sample makes a new limit.
//! - *Draining*: the limit is a quarter. Requests that were sent before are still in flight.
//! - *Measuring*: the limit is a quarter still. The sample is the baseline, and the limit is what it was before.
//!
//! A new endpoint is measured at the initial limit. If that is too much for it, its baseline is too long at first; so
//! it is measured again after a few samples, and then more and more seldom. While an endpoint has few requests, any
//! sample can be the baseline, and the limit stays.
//!
//! Endpoints are measured after samples, not at times, so they are not measured at once.

use std::time::Duration;

use tower_acc::{Algorithm, Gradient2};

use super::{
    settings::AdaptiveConcurrency,
    window::{self, WindowSample},
};

/// After how many samples a new endpoint is measured again; then after twice as many each time.
const FIRST_SAMPLES: usize = 5;

/// After how many samples an endpoint is measured again at last. Measuring takes about two round trips at a quarter
/// of the throughput, which is 3 % of a hundred samples.
const SAMPLES: usize = 100;

/// What the limit is divided by. A limit that is too high by this factor comes down in one phase, and not in many.
const LOWERED: usize = 4;

/// How much longer than the baseline requests may take (Envoy's `buffer`, 25 %).
const TOLERANCE: f64 = 1.25;

/// How much of a change is made at once. An overload, the gradient of which is 0.5, takes about a quarter off the
/// limit.
const SMOOTHING: f64 = 0.5;

/// How many samples `Gradient2` takes its first baseline from.
const WARM_UP: usize = 10;

/// A latency for an endpoint that is overloaded, which `Gradient2` has no notion of: its gradient is the lowest.
const OVERLOADED: Duration = Duration::from_secs(60 * 60);

/// A controller by how latency changes with the number of requests.
#[derive(Debug)]
pub(super) struct Gradient {
    settings: AdaptiveConcurrency,
    algorithm: Gradient2,
    phase: Phase,
    /// How many samples are followed until the next measurement but one.
    interval: usize,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Following {
        /// How many samples to follow still.
        left: usize,
    },
    Draining {
        /// The limit before.
        limit: usize,
        /// How many requests were in flight.
        in_flight: usize,
    },
    Measuring {
        /// The limit before.
        limit: usize,
    },
}

impl Gradient {
    /// Returns a controller of a new endpoint, which measures first.
    pub(super) fn new(settings: &AdaptiveConcurrency) -> Self {
        let limit = settings.first();
        Self {
            settings: settings.clone(),
            algorithm: algorithm(settings, limit, OVERLOADED),
            phase: Phase::Measuring { limit },
            interval: FIRST_SAMPLES,
        }
    }

    /// Returns how many requests the next sample takes.
    pub(super) fn samples(&self, limit: usize) -> usize {
        match self.phase {
            Phase::Draining { in_flight, .. } => in_flight,
            Phase::Following { .. } | Phase::Measuring { .. } => window::size(limit),
        }
    }

    /// Returns the limit that follows `limit`.
    pub(super) fn next(&mut self, limit: usize, sample: &WindowSample) -> usize {
        let in_flight = sample.in_flight;
        match (self.phase, sample.latency) {
            (Phase::Following { left: 0 }, Some(latency)) if in_flight < limit / 2 => {
                self.measured(limit, latency)
            }
            (Phase::Following { left: 0 }, _) => {
                self.phase = Phase::Draining { limit, in_flight };
                (limit / LOWERED).max(self.settings.min)
            }
            (Phase::Following { left }, latency) => {
                self.phase = Phase::Following { left: left - 1 };
                let latency = latency.filter(|_| !sample.overloaded);
                let latency = latency.unwrap_or(OVERLOADED);
                self.algorithm.update(latency, in_flight, false, false);
                self.algorithm.max_concurrency()
            }
            (Phase::Draining { limit: before, .. }, _) => {
                self.phase = Phase::Measuring { limit: before };
                limit
            }
            (Phase::Measuring { limit }, Some(latency)) => self.measured(limit, latency),
            // Nothing was answered. There is nothing to follow yet.
            (Phase::Measuring { .. }, None) => limit,
        }
    }

    /// Follows the next samples, with this baseline, from `limit` on.
    fn measured(&mut self, limit: usize, baseline: Duration) -> usize {
        self.algorithm = algorithm(&self.settings, limit, baseline);
        self.phase = Phase::Following {
            left: self.interval,
        };
        self.interval = (self.interval * 2).min(SAMPLES);
        limit
    }
}

/// Returns a `Gradient2` that keeps to this baseline.
///
/// It lowers the baseline all the same when latency is less than half of it: then that was no baseline.
fn algorithm(settings: &AdaptiveConcurrency, limit: usize, baseline: Duration) -> Gradient2 {
    let mut algorithm = Gradient2::builder()
        .initial_limit(limit)
        .min_limit(settings.min)
        .max_limit(settings.max)
        .smoothing(SMOOTHING)
        .rtt_tolerance(TOLERANCE)
        // Samples that follow do not move the average of the first ones.
        .long_window(usize::MAX)
        // Envoy's headroom. With less, a limit that is far too low takes long to grow.
        .queue_size(|limit| limit.isqrt().max(1))
        .build();
    for _ in 0..WARM_UP {
        // With nothing in flight, the limit stays.
        algorithm.update(baseline, 0, false, false);
    }
    algorithm
}
