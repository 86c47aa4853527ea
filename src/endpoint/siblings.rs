//! What the endpoints of one cluster know of each other.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::norms::{LearnedNorms, Norms, Seen};

/// How old the norms may get. Endpoints do not change faster than they answer, and a look at all costs more than a
/// pick.
const SURVEY_INTERVAL: Duration = Duration::from_millis(100);

/// One step of the turn of an endpoint of weight 1: fine enough for weights up to some thousands, small enough not to
/// overflow in years of a million picks a second.
pub(super) const STRIDE: u64 = 1 << 16;

/// How many turns an endpoint that was passed over may catch up with.
const CATCH_UP: u64 = 4;

/// The time since the cluster was made, in microseconds: what fits an atomic.
pub(crate) type Micros = u64;

/// Shared by the endpoints of a cluster.
#[derive(Debug)]
pub(crate) struct Siblings {
    epoch: Instant,
    /// When the pick at hand takes place, so that one look at the clock serves all who are compared.
    now: AtomicU64,
    surveyed: AtomicU64,
    norms: LearnedNorms,
    /// More than half have asked to be left alone, so none is.
    panic: AtomicBool,
    /// The furthest turn of all; see [`Load`](super::Load).
    turn: AtomicU64,
    /// How many picks there were.
    picks: AtomicU64,
}

impl Default for Siblings {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            now: AtomicU64::default(),
            surveyed: AtomicU64::default(),
            norms: LearnedNorms::default(),
            panic: AtomicBool::default(),
            turn: AtomicU64::default(),
            picks: AtomicU64::default(),
        }
    }
}

impl Siblings {
    /// The point in time that is `micros` after the cluster was made.
    pub(super) fn instant(&self, micros: Micros) -> Instant {
        self.epoch + Duration::from_micros(micros)
    }

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
        self.norms.median()
    }

    /// What is normal here, once any endpoint has answered.
    pub(super) fn norms(&self) -> Option<Norms> {
        self.norms.get()
    }

    pub(super) fn panic(&self) -> bool {
        self.panic.load(Relaxed)
    }

    /// A pick begins: looks at the clock. True if the endpoints should be looked at, too.
    pub(super) fn begin_pick(&self) -> bool {
        let now = self.clock();
        self.now.store(now, Relaxed);
        let due = self.surveyed.load(Acquire) + SURVEY_INTERVAL.as_micros() as u64;
        now >= due || self.median().is_none()
    }

    /// Takes in what a look at the endpoints gave, and whether most of them should be left alone.
    pub(super) fn take_survey(&self, seen: &Seen, panic: bool) {
        self.surveyed.store(self.now(), Release);
        self.norms.learn(seen);
        self.panic.store(panic, Relaxed);
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
