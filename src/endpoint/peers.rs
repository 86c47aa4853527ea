//! What the endpoints of one cluster know of each other.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::time::Instant;

use super::Endpoint;

/// How old the median may get. Endpoints do not change faster than they answer, and a look at all costs more than a
/// pick.
const REFRESH: Duration = Duration::from_millis(100);

/// How many endpoints a median is taken of at most: enough that the error does not matter, few enough that the look at
/// them is cheap in a cluster of ten thousand.
const SAMPLE: usize = 64;

/// One step of the turn of an endpoint of weight 1: fine enough for weights up to some thousands, small enough not to
/// overflow in years of a million picks a second.
pub(super) const STRIDE: u64 = 1 << 16;

/// How many turns an endpoint that was passed over may catch up with.
const CATCH_UP: u64 = 4;

/// The time since the cluster was made, in microseconds: what fits an atomic.
pub(crate) type Micros = u64;

/// Shared by the endpoints of a cluster.
#[derive(Debug)]
pub(crate) struct Peers {
    epoch: Instant,
    /// When the pick at hand takes place, so that one look at the clock serves all who are compared.
    now: AtomicU64,
    refreshed: AtomicU64,
    /// The median of the latency estimates, in seconds; 0 before there is one.
    median: AtomicU32,
    /// More than half have asked to be left alone, so none is.
    panic: AtomicBool,
    /// The furthest turn of all; see [`Load`](super::Load).
    turn: AtomicU64,
    /// How many picks there were.
    picks: AtomicU64,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            now: AtomicU64::default(),
            refreshed: AtomicU64::default(),
            median: AtomicU32::default(),
            panic: AtomicBool::default(),
            turn: AtomicU64::default(),
            picks: AtomicU64::default(),
        }
    }
}

impl Peers {
    /// Looks at the clock.
    pub(super) fn clock(&self) -> Micros {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// When the pick at hand takes place.
    pub(super) fn now(&self) -> Micros {
        self.now.load(Relaxed)
    }

    /// The median of the latency estimates, in seconds, once any endpoint has answered.
    pub(super) fn median(&self) -> Option<f32> {
        let median = f32::from_bits(self.median.load(Relaxed));
        (median > 0.0).then_some(median)
    }

    pub(super) fn panic(&self) -> bool {
        self.panic.load(Relaxed)
    }

    /// A pick begins: looks at the clock, and now and then at the endpoints.
    pub(crate) fn tick<S>(&self, endpoints: &[Arc<Endpoint<S>>]) {
        let now = self.clock();
        self.now.store(now, Relaxed);
        let due = self.refreshed.load(Acquire) + REFRESH.as_micros() as u64;
        if (now >= due || self.median().is_none()) && !endpoints.is_empty() {
            self.refreshed.store(now, Release);
            self.refresh(endpoints);
        }
    }

    fn refresh<S>(&self, endpoints: &[Arc<Endpoint<S>>]) {
        let now = self.now();
        let sampled = || {
            endpoints
                .iter()
                .step_by(endpoints.len().div_ceil(SAMPLE))
                .map(|endpoint| endpoint.load())
        };
        let mut estimates: Vec<f32> = sampled().filter_map(|load| load.latency(now)).collect();
        if !estimates.is_empty() {
            let upper = estimates.len() / 2;
            let lower = (estimates.len() - 1) / 2;
            estimates.sort_unstable_by(f32::total_cmp);
            self.median.store(
                f32::midpoint(estimates[lower], estimates[upper]).to_bits(),
                Relaxed,
            );
        }
        let away = sampled().filter(|load| load.is_away()).count();
        self.panic.store(2 * away > sampled().len(), Relaxed);
    }

    /// The number of a pick.
    pub(super) fn next_pick(&self) -> u64 {
        self.picks.fetch_add(1, Relaxed)
    }

    /// Where an endpoint whose turn was `turn` is in the schedule. One that has been passed over by chance may catch
    /// up; one that was busy for long, or is new, begins not far behind the first, so that it does not get all the next
    /// picks.
    pub(super) fn take_turn(&self, turn: u64) -> u64 {
        let first = self.turn.fetch_max(turn, Relaxed).max(turn);
        turn.max(first.saturating_sub(CATCH_UP * STRIDE))
    }
}
