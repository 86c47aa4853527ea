//! How busy an endpoint is.
//!
//! A request counts from the moment its endpoint is picked until the last byte of its response has left, so that a long
//! download weighs as long as it lasts.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    availability::{Availability, Rank},
    cost::{Cost, Idle},
    latency::{Latency, Sample},
    norms::Norms,
    outstanding::{End, Outstanding, Wait},
    request_counter::{RequestCounter, RequestCounts},
    siblings::{Micros, STRIDE, Siblings},
};

/// How long a new endpoint gets less than its share, and how much less at first: caches are cold, code is not compiled.
/// Envoy's `slow_start_config` has the same shape and the same least share.
const SLOW_START: Duration = Duration::from_secs(10);
const SLOW_START_SHARE: f32 = 0.1;

/// When an endpoint that drains may be asked again.
const NEVER: Micros = Micros::MAX;

/// A request lasts once it has been in flight for so many times as long as is usual. With 16 here, slow uploads moved
/// shares by 10 % in place of 6.
const LASTING: f32 = 8.0;

/// For how much of a request one counts that lasts, in excess of what the siblings have. A server spends little on it,
/// but a tunnel or a download is a connection that it has to keep.
const EXCESS: f32 = 0.1;

/// What keeps an endpoint busy.
struct Busy {
    /// Requests that will be answered soon, as far as one can tell.
    fresh: u64,
    lasting: u64,
    /// How long answers are waited for, if that says something of the next one.
    wait: Option<Wait>,
}

/// What is known of one endpoint that is in use.
#[derive(Debug)]
pub(crate) struct Load {
    siblings: Arc<Siblings>,
    latency: Arc<Latency>,
    requests: RequestCounter,
    outstanding: Outstanding,
    /// Has answered well since it was inserted.
    proven: AtomicBool,
    /// Has answered at all. How long the first answer takes is not its latency: it holds connecting, too.
    acquainted: AtomicBool,
    /// When it was inserted, if others had been at work by then.
    newcomer: Option<Micros>,
    /// When it may be asked again: [`NEVER`] while it drains.
    away_until: AtomicU64,
    /// Position in a stride schedule (Waldspurger and Weihl 1995): each pick moves it on by `STRIDE / weight`.
    turn: AtomicU64,
    /// The number of the pick that was the last.
    picked: AtomicU64,
    idle: Notify,
}

impl Load {
    pub(crate) fn new(siblings: Arc<Siblings>, latency: Arc<Latency>) -> Self {
        let newcomer = siblings.median().map(|_| siblings.clock());
        Self {
            siblings,
            latency,
            requests: RequestCounter::default(),
            outstanding: Outstanding::default(),
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
        usize::try_from(self.requests.total()).unwrap_or(usize::MAX)
    }

    /// From now on it gets no new requests.
    ///
    /// A request that is [started](Self::start) at the same time either sees this, or is seen by whoever asks for
    /// [what is in flight](Self::in_flight) hereafter: all four are sequentially consistent.
    pub(crate) fn drain(&self) {
        self.away_until.store(NEVER, SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.away_until.load(SeqCst) == NEVER
    }

    /// Ends the draining.
    pub(crate) fn resume(&self) {
        // It may be over, and then what the endpoint asked for holds.
        let _ = self.away_until.compare_exchange(NEVER, 0, SeqCst, SeqCst);
    }

    /// How many requests are in flight, and how many of them last.
    pub(super) fn counts(&self, now: Micros) -> RequestCounts {
        self.requests.counts(now, self.lasting())
    }

    /// After how long a request lasts: never, as long as nothing is known.
    fn lasting(&self) -> Micros {
        self.siblings.median().map_or(Micros::MAX, |median| {
            micros(LASTING * self.latency.usual(median))
        })
    }

    /// The answers of late.
    pub(super) fn sample(&self, now: Micros) -> Sample {
        self.latency.sample(now)
    }

    /// Whether it may be given requests, as of the last pick: the only place that decides.
    pub(crate) fn availability(&self) -> Availability {
        let until = self.away_until.load(Relaxed);
        if self.siblings.now() < until {
            if until == NEVER {
                return Availability::Draining;
            }
            return Availability::LeftAlone {
                until: self.siblings.instant(until),
            };
        }
        match self.proven.load(Relaxed) || self.is_idle() {
            true => Availability::Usable,
            false => Availability::Untested,
        }
    }

    /// How it ranks among its siblings.
    pub(super) fn rank(&self) -> Rank {
        self.availability().rank(self.siblings.panic())
    }

    /// What outlives this endpoint.
    pub(crate) fn remembered(&self) -> &Arc<Latency> {
        &self.latency
    }

    /// Whether nothing is in flight that is a reason not to ask it.
    fn is_idle(&self) -> bool {
        let Some(norms) = self.siblings.norms() else {
            return self.requests.total() == 0;
        };
        self.busy(&norms, self.siblings.now()).fresh == 0
    }

    fn busy(&self, norms: &Norms, now: Micros) -> Busy {
        let after = LASTING * self.latency.usual(norms.median);
        let RequestCounts { fresh, lasting } = self.requests.counts(now, micros(after));
        let wait = self.outstanding.wait(now);
        let (fresh, wait) = match wait {
            // It is asked as if those that wait were not there: they may be long polls.
            Some(wait) if wait.is_due(after, norms.polls) => {
                (fresh.saturating_sub(wait.count), None)
            }
            Some(wait) => (fresh.max(wait.count), Some(wait)),
            None => (fresh, None),
        };
        Busy {
            fresh,
            lasting,
            wait,
        }
    }

    /// The cost by latency, and by what is in flight.
    pub(super) fn cost(&self, weight: NonZeroU32) -> Cost {
        // Before the first answer anywhere, nothing is known of latency.
        let Some(norms) = self.siblings.norms() else {
            return self.cost_in_flight(weight);
        };
        let now = self.siblings.now();
        let Busy {
            fresh,
            lasting,
            wait,
        } = self.busy(&norms, now);
        let latency = self
            .latency
            .estimate(now, &norms, wait, self.requests.total());
        let idle = match fresh {
            0 => latency.about.map_or(Idle::Unknown, Idle::Takes),
            _ => Idle::Busy,
        };
        let in_flight = fresh as f32 + excess(lasting, norms.lasting, weight);
        let load = (in_flight + 1.0) / self.weight(weight, now) * latency.exact;
        Cost {
            load: load.into(),
            idle,
            ..self.cost_of_turn()
        }
    }

    /// The cost by what is in flight alone.
    pub(super) fn cost_in_flight(&self, weight: NonZeroU32) -> Cost {
        let in_flight = self.requests.total();
        let load = (in_flight as f64 + 1.0) / f64::from(self.weight(weight, self.siblings.now()));
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

    /// The cost by what the user says. What is no number is the dearest: "busy of total" is 0.0 / 0.0 before there is
    /// any, and must not attract every request.
    pub(super) fn cost_reported(&self, weight: NonZeroU32, load: f64) -> Cost {
        let load = if load.is_nan() { f64::INFINITY } else { load };
        Cost {
            load: load / f64::from(self.weight(weight, self.siblings.now())),
            ..self.cost_of_turn()
        }
    }

    fn cost_of_turn(&self) -> Cost {
        let turn = (self.turn.load(Relaxed), self.picked.load(Relaxed));
        Cost {
            rank: self.rank(),
            load: 0.0,
            idle: Idle::Busy,
            turn,
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

    /// Counts a request that is about to be sent, by a pick of this moment. Returns the moment.
    pub(super) fn start(&self, weight: NonZeroU32) -> Micros {
        let now = self.siblings.now();
        let lasting = self.lasting();
        self.requests.begin(now, lasting);
        self.outstanding.sent(now, lasting);
        let step = STRIDE as f32 / self.weight(weight, now);
        let turn = self.siblings.take_turn(self.turn.load(Relaxed)) + step as u64;
        self.turn.store(turn, Relaxed);
        self.picked.store(self.siblings.next_pick(), Relaxed);
        now
    }

    /// The request counted by [`start`](Self::start) is over.
    pub(super) fn end(&self, picked: Micros) {
        if self.requests.end(picked) {
            self.idle.notify_waiters();
        }
    }

    pub(super) fn clock(&self) -> Micros {
        self.siblings.clock()
    }

    /// The endpoint has had the whole of a request, and is waited for.
    pub(super) fn sent(&self, now: Micros) {
        self.outstanding.sent(now, self.lasting());
    }

    /// The request that was counted as sent at `sent` has not been sent yet.
    pub(super) fn unsent(&self, sent: Micros) {
        self.outstanding.ended(sent, sent, End::Early);
    }

    /// The endpoint has answered a request that was sent at `sent`. Returns whether that one lasted while others were
    /// answered.
    pub(super) fn answered(&self, sent: Micros, now: Micros) -> bool {
        let waited = self.outstanding.ended(sent, now, End::Answered);
        let lasting = self.lasting();
        if waited.overtook > 0 && waited.silence >= lasting {
            self.latency.polled(now, waited.overtook);
        }
        waited.overtaken && now.saturating_sub(sent) >= lasting
    }

    /// A request was given up that was sent at `sent`.
    pub(super) fn given_up(&self, sent: Micros, now: Micros) {
        // A client's patience is not the endpoint's latency. But a request that was given up late would have had to wait
        // on, and the endpoint may have stalled.
        let usual = self
            .siblings
            .median()
            .map_or(Micros::MAX, |median| micros(self.latency.usual(median)));
        let end = match now.saturating_sub(sent) >= usual {
            true => End::Late,
            false => End::Early,
        };
        self.outstanding.ended(sent, now, end);
    }

    /// Its answer came `latency` seconds after it had the whole request; `None` if it came before.
    pub(super) fn succeeded(&self, now: Micros, latency: Option<f32>) {
        self.proven.store(true, Relaxed);
        if let (true, Some(latency)) = (self.acquainted.swap(true, Relaxed), latency) {
            self.latency.succeeded(now, latency, self.siblings.median());
        }
    }

    /// It failed.
    pub(super) fn failed(&self, now: Micros) {
        self.latency.failed(now);
    }

    /// It asked to be left alone for `wait`.
    pub(super) fn leave_alone(&self, now: Micros, wait: Duration) {
        let wait = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX / 2);
        self.away_until.fetch_max(now.saturating_add(wait), Relaxed);
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
}

/// For how many requests those count that last, where the siblings have `usual` for each unit of weight.
fn excess(lasting: u64, usual: f32, weight: NonZeroU32) -> f32 {
    (lasting as f32 - weight.get() as f32 * usual).max(0.0) * EXCESS
}

fn micros(seconds: f32) -> Micros {
    (seconds * 1e6) as Micros
}
