//! The periodic survey of a cluster's endpoints, from which [`Siblings`] learn what is normal, and which decides what
//! one endpoint cannot decide by itself: whether it is ejected.
//!
//! There is no task for it: the first pick after the interval takes it, or after an endpoint has failed too often. So
//! it costs nothing while a cluster is idle, it needs no shutdown, and it sees a simulation's clock. The pick that
//! takes it is slower by the time of looking at up to [`SAMPLE`] endpoints, or at all of them while one may not be
//! well.
//!
//! One survey is taken at a time. A pick that finds another one being taken goes on without.

use std::sync::Arc;

use super::{
    member::Endpoint,
    norms::Findings,
    siblings::{ClusterHealth, Micros, Siblings},
    spread::Spread,
};
use crate::health::{Ejection, EjectionState, Rate, Trip};

/// The most endpoints that a survey looks at to learn what is normal: enough for the error of a median not to matter,
/// and few enough for a survey to be cheap in a cluster of ten thousand.
const SAMPLE: usize = 64;

/// The fewest endpoints whose success rates are compared with each other. As in Envoy's outlier detection.
const LEAST_PEERS: usize = 5;

/// The fewest attempts in ten seconds with which a success rate is compared with those of others. As in Envoy.
const LEAST_ATTEMPTS: u32 = 100;

/// How far below the mean an outlier is, in standard deviations. As in Envoy.
const DEVIATIONS: f32 = 1.9;

/// How far below the mean an outlier is at least. Where all others never fail, the standard deviation is next to none.
const LEAST_DISTANCE: f32 = 0.05;

impl Siblings {
    /// Begins a pick among `endpoints`: reads the clock, and takes a survey if one is due.
    ///
    /// Costs, ranks and availabilities are as of the last tick, so that all endpoints of a pick are judged by the same
    /// clock and norms, and the clock is read once.
    pub(crate) fn tick<S>(&self, endpoints: &[Arc<Endpoint<S>>]) {
        if self.begin_pick() {
            self.survey(endpoints);
        }
    }

    /// Takes a survey, unless one is being taken.
    fn survey<S>(&self, endpoints: &[Arc<Endpoint<S>>]) {
        if endpoints.is_empty() || !self.begin_survey() {
            return;
        }
        // Every `step`-th, which is as good as a random sample: their order is that of insertion.
        let step = endpoints.len().div_ceil(SAMPLE);
        let sampled = || endpoints.iter().step_by(step);
        let seen = look(sampled(), self.now());
        sampled().for_each(|endpoint| endpoint.load().tell_availability());
        let weights = || sampled().map(|endpoint| endpoint.weight());
        let lightest = weights()
            .min()
            .filter(|least| weights().any(|weight| weight != *least));
        let health = match self.is_troubled() {
            true => self.judge(endpoints),
            false => ClusterHealth::WELL,
        };
        self.end_survey(&seen, lightest, health);
    }

    /// Ejects the endpoints that should be, and returns how the cluster is then.
    fn judge<S>(&self, endpoints: &[Arc<Endpoint<S>>]) -> ClusterHealth {
        let now = self.now();
        if let Some(ejection) = &self.settings().ejection {
            self.eject(endpoints, ejection, now);
        }
        let states = || endpoints.iter().map(|endpoint| endpoint.load().ejection());
        let dead = states().all(EjectionState::is_silent);
        let well = endpoints
            .iter()
            .inspect(|endpoint| endpoint.load().tell_availability())
            .filter(|endpoint| endpoint.availability().is_well())
            .count();
        let failed = states().any(|state| state.rate(now).failures > 0);
        let silent = endpoints
            .iter()
            .any(|endpoint| endpoint.load().may_have_stalled(now));
        ClusterHealth {
            panic: 2 * well < endpoints.len(),
            dead,
            // Whether an endpoint has stalled shows later than at the survey after it was tried again.
            troubled: failed || silent || well < endpoints.len(),
            probe_due: states()
                .filter_map(|state| state.next_probe(dead))
                .min()
                .unwrap_or(Micros::MAX),
        }
    }

    /// Ejects the endpoints that should be: those that do not answer, then those that fail, as far as the share that
    /// may be ejected allows.
    fn eject<S>(&self, endpoints: &[Arc<Endpoint<S>>], ejection: &Ejection, now: Micros) {
        let rates = Rates::of(endpoints, now);
        let mut ejected = 0;
        let (mut stalled, mut failing) = (Vec::new(), Vec::new());
        for endpoint in endpoints {
            let (load, state) = (endpoint.load(), endpoint.load().ejection());
            if state.is_ejected() {
                ejected += 1;
            }
            match state.trip(ejection) {
                Some(Trip::Silent) => {
                    ejected += usize::from(!state.is_ejected());
                    load.eject(now, Trip::Silent, ejection);
                }
                _ if state.is_ejected() => {}
                Some(trip) => failing.push((load, trip)),
                None if load.is_stalled(now) => stalled.push(load),
                None if rates.are_above(state.rate(now), ejection) => {
                    failing.push((load, Trip::BelowRate));
                }
                None => {}
            }
        }
        // Where many stand still at once, it is what they share that does, and they will go on together.
        if 2 * (ejected + stalled.len()) <= endpoints.len() {
            ejected += stalled.len();
            for load in stalled {
                load.eject(now, Trip::Stalled, ejection);
            }
        }
        let room = ejection.most(endpoints.len()).saturating_sub(ejected);
        for (load, trip) in failing.into_iter().take(room) {
            load.eject(now, trip, ejection);
        }
    }
}

/// The success rates of a cluster's endpoints.
struct Rates {
    /// The number of endpoints with any attempts, and the sum of their shares.
    all: (usize, f32),
    /// The share below which an endpoint with many attempts is an outlier, if enough of them have many.
    outlier: Option<f32>,
}

impl Rates {
    fn of<S>(endpoints: &[Arc<Endpoint<S>>], now: Micros) -> Self {
        let rates = endpoints
            .iter()
            .map(|endpoint| endpoint.load().ejection().rate(now));
        let rates: Vec<_> = rates.filter(|rate| rate.attempts > 0).collect();
        let busy = rates.iter().filter(|rate| rate.attempts >= LEAST_ATTEMPTS);
        let shares: Vec<_> = busy.map(|rate| rate.share()).collect();
        Self {
            all: (rates.len(), rates.iter().map(|rate| rate.share()).sum()),
            outlier: outlier(&shares),
        }
    }

    /// Returns whether an endpoint with this rate does so badly that it should be ejected.
    fn are_above(&self, rate: Rate, ejection: &Ejection) -> bool {
        if rate.failures == 0 {
            return false;
        }
        let (count, sum) = self.all;
        let peers = match count {
            0 | 1 => 1.0,
            count => (sum - rate.share()) / (count - 1) as f32,
        };
        let outlier = || rate.attempts >= LEAST_ATTEMPTS && self.outlier > Some(rate.share());
        EjectionState::is_below(rate, peers, ejection) || outlier()
    }
}

/// Returns the share below which one of these is an outlier, or `None` if they are too few to tell.
fn outlier(shares: &[f32]) -> Option<f32> {
    let count = shares.len() as f32;
    let mean = shares.iter().sum::<f32>() / count;
    let variance = shares
        .iter()
        .map(|share| (share - mean).powi(2))
        .sum::<f32>()
        / count;
    let distance = (DEVIATIONS * variance.sqrt()).max(LEAST_DISTANCE);
    (shares.len() >= LEAST_PEERS).then_some(mean - distance)
}

/// Returns what the endpoints show at `now`.
fn look<'a, S: 'a>(endpoints: impl Iterator<Item = &'a Arc<Endpoint<S>>>, now: u64) -> Findings {
    let (mut seen, mut spread) = (Findings::default(), Spread::default());
    let (mut latencies, mut lasting) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        let load = endpoint.load();
        let weight = endpoint.weight();
        lasting.push((load.counts(now).lasting as f32 / weight as f32, 1));
        let sample = load.sample(now);
        seen.answers += sample.weight;
        seen.polls += sample.polls;
        spread.add(sample.mean, sample.variance, sample.weight);
        // By weight, and so by the number of requests: the heaviest endpoint of a few is known best, and what is
        // normal must not depend on two others that have few answers. An endpoint that has not answered of late says
        // nothing about what is normal now.
        latencies.extend(sample.is_recent().then_some((sample.mean, weight)));
    }
    Findings {
        median: median(latencies),
        lasting: median(lasting).unwrap_or(0.0),
        variances: spread.variances(),
        ..seen
    }
}

/// Returns the median of values with weights, or `None` without values.
///
/// A value of weight 2 counts as two values. If one half of the weight ends between two values, it is their mean.
fn median(mut values: Vec<(f32, u32)>) -> Option<f32> {
    values.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
    let total: u64 = values.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let at = |nth: u64| {
        let mut before = 0;
        let reaches = |(_, weight): &&(f32, u32)| {
            before += u64::from(*weight);
            before > nth
        };
        values.iter().find(reaches).map(|(value, _)| *value)
    };
    Some(f32::midpoint(
        at(total.checked_sub(1)? / 2)?,
        at(total / 2)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_counts_weights() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![(2.0, 1)]), Some(2.0));
        assert_eq!(median(vec![(3.0, 1), (1.0, 1), (2.0, 1)]), Some(2.0));
        assert_eq!(
            median(vec![(4.0, 1), (1.0, 1), (2.0, 1), (3.0, 1)]),
            Some(2.5)
        );
        assert_eq!(median(vec![(3.0, 5), (1.0, 1), (2.0, 1)]), Some(3.0));
        assert_eq!(median(vec![(1.0, 3), (2.0, 2), (5.0, 1)]), Some(1.5));
        assert_eq!(median(vec![(1.0, u32::MAX), (2.0, u32::MAX)]), Some(1.5));
    }
}
