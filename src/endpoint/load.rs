//! How busy an endpoint is.
//!
//! A request counts from the moment its endpoint is picked until the last byte of its response has left, so that a long
//! download weighs as long as it lasts.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    cost::{Class, Cost, Idle},
    latency::Latency,
    outcome::Outcome,
    peers::{Micros, Peers, STRIDE},
    waiting::Waiting,
};

/// How long a new endpoint gets less than its share, and how much less at first: caches are cold, code is not compiled.
/// Envoy's `slow_start_config` has the same shape and the same least share.
const SLOW_START: Duration = Duration::from_secs(10);
const SLOW_START_SHARE: f32 = 0.1;

/// What is known of one endpoint that is in use.
#[derive(Debug)]
pub(crate) struct Load {
    peers: Arc<Peers>,
    latency: Arc<Latency>,
    in_flight: AtomicUsize,
    waiting: Waiting,
    /// Has answered well since it was inserted.
    proven: AtomicBool,
    /// Has answered at all. How long the first answer takes is not its latency: it holds connecting, too.
    acquainted: AtomicBool,
    /// When it was inserted, if others had been at work by then.
    newcomer: Option<Micros>,
    /// When it may be asked again.
    away_until: AtomicU64,
    /// Position in a stride schedule (Waldspurger and Weihl 1995): each pick moves it on by `STRIDE / weight`.
    turn: AtomicU64,
    /// The number of the pick that was the last.
    picked: AtomicU64,
    idle: Notify,
}

impl Load {
    pub(crate) fn new(peers: Arc<Peers>, latency: Arc<Latency>) -> Self {
        let newcomer = peers.median().map(|_| peers.clock());
        Self {
            peers,
            latency,
            in_flight: AtomicUsize::default(),
            waiting: Waiting::default(),
            proven: AtomicBool::new(newcomer.is_none()),
            acquainted: AtomicBool::default(),
            newcomer,
            away_until: AtomicU64::default(),
            turn: AtomicU64::default(),
            picked: AtomicU64::default(),
            idle: Notify::default(),
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Acquire)
    }

    /// What was measured of late, in seconds.
    pub(crate) fn latency(&self, now: Micros) -> Option<f32> {
        self.latency.measured(now)
    }

    /// Has asked by `Retry-After` to be left alone.
    pub(crate) fn is_away(&self) -> bool {
        self.peers.now() < self.away_until.load(Relaxed)
    }

    /// What outlives this endpoint.
    pub(crate) fn remembered(&self) -> &Arc<Latency> {
        &self.latency
    }

    /// The cost by latency, and by what is in flight.
    pub(super) fn cost(&self, weight: NonZeroU32) -> Cost {
        let cost = self.cost_in_flight(weight);
        // Before the first answer anywhere, nothing is known of latency.
        let Some(median) = self.peers.median() else {
            return cost;
        };
        let now = self.peers.now();
        let latency = self.latency.estimate(now, median, self.waiting.wait(now));
        let idle = match cost.idle {
            Idle::Busy => Idle::Busy,
            _ => latency.about.map_or(Idle::Unknown, Idle::Takes),
        };
        Cost {
            load: cost.load * f64::from(latency.exact),
            idle,
            ..cost
        }
    }

    /// The cost by what is in flight alone.
    pub(super) fn cost_in_flight(&self, weight: NonZeroU32) -> Cost {
        let in_flight = self.in_flight.load(Relaxed);
        let load = (in_flight as f64 + 1.0) / f64::from(self.weight(weight, self.peers.now()));
        let idle = if in_flight == 0 {
            Idle::Unknown
        } else {
            Idle::Busy
        };
        Cost {
            load,
            idle,
            ..self.cost_of_turn()
        }
    }

    /// The cost by what the user says.
    pub(super) fn cost_reported(&self, weight: NonZeroU32, load: f64) -> Cost {
        Cost {
            load: load / f64::from(self.weight(weight, self.peers.now())),
            ..self.cost_of_turn()
        }
    }

    fn cost_of_turn(&self) -> Cost {
        let turn = (self.turn.load(Relaxed), self.picked.load(Relaxed));
        Cost {
            class: self.class(),
            load: 0.0,
            idle: Idle::Busy,
            turn,
        }
    }

    pub(super) fn class(&self) -> Class {
        match () {
            () if self.is_away() && !self.peers.panic() => Class::Away,
            () if !self.proven.load(Relaxed) && self.in_flight.load(Relaxed) > 0 => Class::Untested,
            () => Class::Ready,
        }
    }

    /// The weight it has by now.
    fn weight(&self, weight: NonZeroU32, now: Micros) -> f32 {
        let share = self.newcomer.map_or(1.0, |since| {
            let age = now.saturating_sub(since) as f32 / SLOW_START.as_micros() as f32;
            age.clamp(SLOW_START_SHARE, 1.0)
        });
        weight.get() as f32 * share
    }

    /// Counts a request that is about to be sent, by a pick of this moment.
    pub(super) fn start(self: &Arc<Self>, weight: NonZeroU32) -> InFlight {
        let sent = self.peers.now();
        self.in_flight.fetch_add(1, Relaxed);
        self.waiting.sent(sent);
        let step = STRIDE as f32 / self.weight(weight, sent);
        self.turn.store(
            self.peers.take_turn(self.turn.load(Relaxed)) + step as u64,
            Relaxed,
        );
        self.picked.store(self.peers.next_pick(), Relaxed);
        InFlight {
            load: self.clone(),
            sent: Some(sent),
        }
    }

    /// Waits until nothing is in flight.
    ///
    /// Dropping the future changes nothing.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    fn answered(&self, sent: Micros, outcome: Outcome) {
        let now = self.peers.clock();
        let waited = now.saturating_sub(sent) as f32 * 1e-6;
        self.waiting.ended(sent, now, outcome != Outcome::Unknown);
        match outcome {
            Outcome::Success => {
                if self.acquainted.swap(true, Relaxed) {
                    self.latency.succeeded(now, waited, self.peers.median());
                }
                self.proven.store(true, Relaxed);
            }
            Outcome::Failure { retry_after } => {
                self.latency.failed(now);
                if let Some(wait) = retry_after {
                    let until = now + u64::try_from(wait.as_micros()).unwrap_or(u64::MAX / 2);
                    self.away_until.fetch_max(until, Relaxed);
                }
            }
            Outcome::Unknown => self.latency.given_up(now, waited, self.peers.median()),
        }
    }
}

/// One request in flight at an endpoint; it ends when this is dropped.
#[derive(Debug)]
pub struct InFlight {
    load: Arc<Load>,
    /// When it was sent, until it is answered.
    sent: Option<Micros>,
}

impl InFlight {
    /// The response head is there, or never will be.
    pub(crate) fn answered(&mut self, outcome: Outcome) {
        if let Some(sent) = self.sent.take() {
            self.load.answered(sent, outcome);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.answered(Outcome::Unknown);
        if self.load.in_flight.fetch_sub(1, AcqRel) == 1 {
            self.load.idle.notify_waiters();
        }
    }
}
