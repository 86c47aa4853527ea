//! What one more request would cost at an endpoint, by what its [`Load`] observes.
//!
//! The cost by latency is `(in flight + 1) × estimate / weight`, which is how long one more request would take if the
//! endpoint worked at one request at a time. Its parts:
//!
//! - *in flight*: fresh requests count in full, and those that were [turned away](super::turned_away) as long as they
//!   would have been there. Lasting ones count a tenth, and only in excess of what endpoints of the
//!   cluster usually have, so that they hardly steer the requests of others.
//! - *estimate*: see [`latency`](super::latency).
//! - *weight*: the configured one; less during a slow start. If the endpoints of the cluster have different ones,
//!   latencies within 20 % of the median count as the median.

use std::num::NonZeroU32;

use super::{
    cost::{Cost, Idle},
    load::{LASTING, Load},
    norms::Norms,
    outstanding::Wait,
    request_counter::RequestCounts,
    siblings::{Micros, micros},
};

/// How much a lasting request counts, in requests. A server spends little on a tunnel or a slow download, but has to
/// keep a connection for it.
const EXCESS: f32 = 0.1;

/// What keeps an endpoint busy at one moment.
struct Busy {
    /// The number of requests that will likely be answered soon.
    fresh: u64,
    /// The number of requests that have been in flight for long.
    lasting: u64,
    /// What the requests that wait say about the next one; `None` if nothing.
    wait: Option<Wait>,
}

impl Busy {
    /// What is true without any request.
    const IDLE: Self = Self {
        fresh: 0,
        lasting: 0,
        wait: None,
    };
}

impl Load {
    /// Returns whether no request is in flight that another one should wait for.
    pub(super) fn is_idle(&self) -> bool {
        let Some(norms) = self.siblings.norms() else {
            return self.requests.total() == 0;
        };
        self.busy(&norms, self.siblings.now()).fresh == 0
    }

    /// Returns what keeps the endpoint busy at `now`.
    fn busy(&self, norms: &Norms, now: Micros) -> Busy {
        let wait = self.outstanding.wait(now);
        if wait.is_none() && self.requests.total() == 0 {
            return Busy::IDLE;
        }
        let after = LASTING * self.latency.usual(norms.median);
        let RequestCounts { fresh, lasting } = self.requests.counts(now, micros(after));
        let (fresh, wait) = match wait {
            // The endpoint should show whether it is alive. So the requests that wait are ignored, or the cost would be
            // too high for it to get another one.
            Some(wait) if wait.is_due(after, norms.polls) => {
                (fresh.saturating_sub(wait.count), None)
            }
            // Requests that were given up late are no longer in flight, but still wait.
            Some(wait) => (fresh.max(wait.count), Some(wait)),
            None => (fresh, None),
        };
        Busy {
            fresh,
            lasting,
            wait,
        }
    }

    /// Returns the cost by latency and requests in flight.
    pub(super) fn cost(&self, weight: NonZeroU32) -> Cost {
        // Until an endpoint of the cluster has answered, nothing is known about latency.
        let Some(norms) = self.siblings.norms() else {
            return self.cost_in_flight(weight);
        };
        let now = self.siblings.now();
        let Busy {
            fresh,
            lasting,
            wait,
        } = self.busy(&norms, now);
        // Chance must not decide against the turns by which weights are exact.
        let uneven = self.siblings.uneven();
        let total = self.requests.total();
        let latency = self.latency.estimate(now, &norms, wait, total, uneven);
        let idle = match fresh {
            0 if latency.known => Idle::Takes(latency.about),
            0 => Idle::Unknown,
            _ => Idle::Busy,
        };
        let takes = match uneven {
            true => latency.about,
            false => latency.exact,
        };
        let turned_away = self.turned_away.in_flight(now, norms.median);
        let in_flight = fresh as f32 + turned_away + excess(lasting, norms.lasting, weight);
        let weight = self.slow_start.weight(weight, now);
        let load = (in_flight + 1.0) / weight * takes;
        Cost {
            load: load.into(),
            request: takes.into(),
            weight: weight.into(),
            idle,
            ..self.cost_of_turn()
        }
    }

    /// Returns the load part of the cost by latency, in seconds. `None` while nothing is known of the latencies.
    #[cfg(feature = "status")]
    pub(super) fn cost_in_seconds(&self, weight: NonZeroU32) -> Option<f64> {
        let norms = self.siblings.norms()?;
        Some(self.cost(weight).load * f64::from(norms.median))
    }

    /// Returns the cost by requests in flight alone. Lasting ones count in full.
    pub(super) fn cost_in_flight(&self, weight: NonZeroU32) -> Cost {
        let in_flight = self.requests.total();
        let weight = f64::from(self.slow_start.weight(weight, self.siblings.now()));
        let idle = if in_flight == 0 {
            Idle::Unknown
        } else {
            Idle::Busy
        };
        Cost {
            load: (in_flight as f64 + 1.0) / weight,
            request: 1.0,
            weight,
            idle,
            ..self.cost_of_turn()
        }
    }

    /// Returns the cost by the user's load measure, which is divided by the weight.
    ///
    /// NaN is the highest cost: a ratio such as "busy of total" is 0.0 / 0.0 before there is any, and must not attract
    /// every request.
    pub(super) fn cost_reported(&self, weight: NonZeroU32, load: f64) -> Cost {
        let load = if load.is_nan() { f64::INFINITY } else { load };
        Cost {
            load: load / f64::from(self.slow_start.weight(weight, self.siblings.now())),
            ..self.cost_of_turn()
        }
    }

    /// Returns a cost with the rank and turn, and a load of 0 that no request adds to.
    fn cost_of_turn(&self) -> Cost {
        Cost {
            rank: self.rank(),
            load: 0.0,
            request: 0.0,
            weight: 1.0,
            idle: Idle::Busy,
            turn: self.turn.get(),
        }
    }
}

/// Returns how much `lasting` requests count, in requests, where endpoints usually have `usual` of them per unit of
/// weight. What all endpoints have is no reason to prefer one of them.
fn excess(lasting: u64, usual: f32, weight: NonZeroU32) -> f32 {
    if lasting == 0 {
        return 0.0;
    }
    (lasting as f32 - weight.get() as f32 * usual).max(0.0) * EXCESS
}
