//! The load of an endpoint: what is in flight there, and what one more request would cost.
//!
//! A request counts from the moment its endpoint is picked until the last byte of its response has left, so that a long
//! download counts for as long as it lasts. It counts from the pick and not from the sending, since picks of the same
//! moment would otherwise all see the same idle endpoint.
//!
//! The cost by latency is `(in flight + 1) × estimate / weight`, which is how long one more request would take if the
//! endpoint worked at one request at a time. Its parts:
//!
//! - *in flight*: fresh requests count in full. Lasting ones count a tenth, and only in excess of what endpoints of the
//!   cluster usually have, so that they hardly steer the requests of others.
//! - *estimate*: see [`latency`](super::latency).
//! - *weight*: the configured one; less during a slow start.
//!
//! A client that sends few requests must not be able to move those of all others (`tests/scenarios/attacks.rs`). What
//! guards against it here: a request that a client gives up early says nothing; one given up late continues to count as
//! waiting; an answer that is late, but was overtaken by others, is a long poll and no latency.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU8, AtomicU64,
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
    siblings::{Micros, Siblings, micros},
    slow_start::SlowStart,
    turn::Turn,
    waiters::Waiters,
};
use crate::{
    health::{Ejection, EjectionState, Trip},
    record::Outcome,
};

/// The `away_until` of an endpoint that drains.
const NEVER: Micros = Micros::MAX;

/// The age at which a request counts as lasting, as a multiple of the usual latency. With 16, slow uploads moved the
/// shares of endpoints by 10 % rather than 6.
const LASTING: f32 = 8.0;

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

/// What is known of one server while it is in use.
///
/// It is shared by the endpoints that are this server, by the guards of its requests, and by the tasks that wait for it
/// to drain. All methods may be called by several threads at once.
///
/// Two flags are about the beginning. An endpoint is *proven* once it has answered successfully; until then it gets one
/// request at a time ([`Availability::Untested`]). Only endpoints that are added to a cluster at work start unproven:
/// in the first moments of a process nothing is known of any endpoint, and requests must go somewhere. An endpoint is
/// *acquainted* once it has answered at all; the latency before that includes the first connecting, and is not used.
#[derive(Debug)]
pub(crate) struct Load {
    siblings: Arc<Siblings>,
    latency: Arc<Latency>,
    requests: RequestCounter,
    outstanding: Outstanding,
    /// Whether it has answered successfully since it was inserted, or did not have to.
    proven: AtomicBool,
    /// Whether it has answered since it was inserted, so that the next latency does not include connecting.
    acquainted: AtomicBool,
    /// From when it was inserted, if an endpoint of the cluster had answered before; or admitted again.
    slow_start: SlowStart,
    /// What its attempts say about it, and whether it is ejected.
    ejection: EjectionState,
    /// What its active check says, as a [`Check`].
    check: AtomicU8,
    /// When it may be given requests again: [`NEVER`] while it drains.
    away_until: AtomicU64,
    /// Its turn among endpoints that cost the same.
    turn: Turn,
    /// Notified when no request is in flight any more.
    idle: Notify,
    /// The requests that wait for something of the endpoint.
    waiters: Waiters,
}

/// What an active check says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Check {
    /// It is passed, or there is none.
    Passed,
    /// It fails.
    Failed,
    /// It has to be passed before the first request, and has not been yet.
    Awaited,
}

impl Load {
    /// Makes the load of an endpoint that is inserted now. `latency` is the estimate of the last endpoint of its name.
    pub(crate) fn new(siblings: Arc<Siblings>, latency: Arc<Latency>) -> Self {
        let newcomer = siblings.median().map(|_| siblings.clock());
        Self {
            siblings,
            latency,
            requests: RequestCounter::default(),
            outstanding: Outstanding::default(),
            proven: AtomicBool::new(newcomer.is_none()),
            acquainted: AtomicBool::default(),
            slow_start: SlowStart::new(newcomer),
            ejection: EjectionState::default(),
            check: AtomicU8::new(Check::Passed as u8),
            away_until: AtomicU64::default(),
            turn: Turn::default(),
            idle: Notify::default(),
            waiters: Waiters::default(),
        }
    }

    /// Returns what its attempts say about it.
    pub(super) fn ejection(&self) -> &EjectionState {
        &self.ejection
    }

    /// Returns the requests that wait for something of the endpoint.
    pub(super) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Returns the number of requests in flight, lasting ones included.
    pub(crate) fn in_flight(&self) -> usize {
        usize::try_from(self.requests.total()).unwrap_or(usize::MAX)
    }

    /// Marks the endpoint as draining: it gets no new requests.
    ///
    /// A pick counts its request ([`start`](Self::start)) and then looks at the mark
    /// ([`is_draining`](Self::is_draining)). A removal sets the mark and then looks at the count
    /// ([`in_flight`](Self::in_flight)). These four accesses are sequentially consistent, so at least one of the two
    /// sees the other: either the pick goes elsewhere, or the removal waits for its request. With weaker orderings,
    /// both could miss each other.
    pub(crate) fn drain(&self) {
        self.away_until.store(NEVER, SeqCst);
    }

    /// Returns whether the endpoint drains; see [`drain`](Self::drain).
    pub(crate) fn is_draining(&self) -> bool {
        self.away_until.load(SeqCst) == NEVER
    }

    /// Ends what is in flight: heads and bodies that are waited for, and tunnels.
    pub(crate) fn cut_off(&self) {
        self.waiters.cut_off();
    }

    /// Ends the draining. A `Retry-After` from before it is forgotten.
    pub(crate) fn resume(&self) {
        self.waiters.resume();
        // If the endpoint does not drain, this must not end the time for which it asked to be left alone.
        let _ = self.away_until.compare_exchange(NEVER, 0, SeqCst, SeqCst);
    }

    /// Returns the number of fresh and of lasting requests at `now`.
    pub(super) fn counts(&self, now: Micros) -> RequestCounts {
        self.requests.counts(now, self.lasting())
    }

    /// Returns the age at which a request counts as lasting. Until an endpoint of the cluster has answered, none does.
    fn lasting(&self) -> Micros {
        self.siblings.median().map_or(Micros::MAX, |median| {
            micros(LASTING * self.latency.usual(median))
        })
    }

    /// Returns the recent answers, for a survey.
    pub(super) fn sample(&self, now: Micros) -> Sample {
        self.latency.sample(now)
    }

    /// Returns whether the endpoint may be given requests, as of the pick at hand. This is the only place that decides
    /// it.
    pub(crate) fn availability(&self) -> Availability {
        let (now, until) = (self.siblings.now(), self.away_until.load(Relaxed));
        if until == NEVER {
            return Availability::Draining;
        }
        match self.check.load(Relaxed) {
            check if check == Check::Failed as u8 => return Availability::FailedCheck,
            check if check == Check::Awaited as u8 => return Availability::Unchecked,
            _ => {}
        }
        if self.ejection.is_ejected() {
            let (silent, until) = (self.ejection.is_silent(), self.ejection.until());
            return match now < until {
                true => Availability::Ejected {
                    until: self.siblings.instant(until),
                    silent,
                },
                false => Availability::Probation { silent },
            };
        }
        if now < until {
            return Availability::LeftAlone {
                until: self.siblings.instant(until),
            };
        }
        if self.siblings.is_full() || self.requests.total() >= self.most() {
            return Availability::Full;
        }
        match self.proven.load(Relaxed) || self.is_idle() {
            true => Availability::Usable,
            false => Availability::Untested,
        }
    }

    /// Returns how many requests may be in flight.
    fn most(&self) -> u64 {
        let most = self.siblings.settings().max_in_flight;
        most.unwrap_or(u64::MAX)
    }

    /// Returns how the endpoint ranks among its siblings.
    pub(super) fn rank(&self) -> Rank {
        self.availability().rank(self.siblings.panic())
    }

    /// Returns the latency estimate, which the cluster remembers when the endpoint leaves.
    pub(crate) fn remembered(&self) -> &Arc<Latency> {
        &self.latency
    }

    /// Returns whether no request is in flight that another one should wait for.
    fn is_idle(&self) -> bool {
        let Some(norms) = self.siblings.norms() else {
            return self.requests.total() == 0;
        };
        self.busy(&norms, self.siblings.now()).fresh == 0
    }

    /// Returns what keeps the endpoint busy at `now`.
    fn busy(&self, norms: &Norms, now: Micros) -> Busy {
        let after = LASTING * self.latency.usual(norms.median);
        let RequestCounts { fresh, lasting } = self.requests.counts(now, micros(after));
        let wait = self.outstanding.wait(now);
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
        let latency = self
            .latency
            .estimate(now, &norms, wait, self.requests.total());
        let idle = match fresh {
            0 => latency.about.map_or(Idle::Unknown, Idle::Takes),
            _ => Idle::Busy,
        };
        let in_flight = fresh as f32 + excess(lasting, norms.lasting, weight);
        let load = (in_flight + 1.0) / self.slow_start.weight(weight, now) * latency.exact;
        Cost {
            load: load.into(),
            idle,
            ..self.cost_of_turn()
        }
    }

    /// Returns the cost by requests in flight alone. Lasting ones count in full.
    pub(super) fn cost_in_flight(&self, weight: NonZeroU32) -> Cost {
        let in_flight = self.requests.total();
        let load = (in_flight as f64 + 1.0)
            / f64::from(self.slow_start.weight(weight, self.siblings.now()));
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

    /// Returns a cost with the rank and turn, and a load of 0.
    fn cost_of_turn(&self) -> Cost {
        Cost {
            rank: self.rank(),
            load: 0.0,
            idle: Idle::Busy,
            turn: self.turn.get(),
        }
    }

    /// Counts a request for which the endpoint is picked now, and moves its turn. Returns the time, which
    /// [`end`](Self::end) needs; or `None`, and counts nothing, if as many are in flight as there may be.
    ///
    /// The request counts as sent, too: one with a body takes that back by [`unsent`](Self::unsent).
    pub(super) fn start(&self, weight: NonZeroU32) -> Option<Micros> {
        let now = self.siblings.now();
        let lasting = self.lasting();
        if !self.siblings.begin_request() {
            return None;
        }
        if !self.requests.begin(now, lasting, self.most()) {
            self.siblings.end_request();
            return None;
        }
        self.note_sent(now, lasting);
        self.turn
            .take(&self.siblings, self.slow_start.weight(weight, now));
        Some(now)
    }

    /// Notes that a request was sent at `now`.
    fn note_sent(&self, now: Micros, lasting: Micros) {
        let again = self.outstanding.sent(now, lasting);
        if again {
            // No failure shows a stall, so this is what makes surveys look for one.
            self.siblings.trouble();
        }
    }

    /// Takes a request off the count, by the time that [`start`](Self::start) returned.
    pub(super) fn end(&self, picked: Micros) {
        if self.requests.end(picked) {
            self.idle.notify_waiters();
        }
        self.siblings.end_request();
        self.siblings.make_room();
    }

    /// Reads the clock.
    pub(super) fn clock(&self) -> Micros {
        self.siblings.clock()
    }

    /// Records that the endpoint has received a whole request at `now`, so that its answer is waited for.
    pub(super) fn sent(&self, now: Micros) {
        self.note_sent(now, self.lasting());
    }

    /// Takes back that a request was [sent](Self::sent) at `sent`: its body is still on its way.
    pub(super) fn unsent(&self, sent: Micros) {
        self.outstanding.ended(sent, sent, End::Early);
    }

    /// Records that the endpoint has answered a request that was sent at `sent`.
    ///
    /// Returns whether that request was a long poll, as far as can be told: it took long while later ones were
    /// answered.
    pub(super) fn answered(&self, sent: Micros, now: Micros) -> bool {
        let waited = self.outstanding.ended(sent, now, End::Answered);
        let lasting = self.lasting();
        // The endpoint was silent for long, and did not stall: those that still wait are long polls.
        if waited.overtook > 0 && waited.silence >= lasting {
            self.latency.polled(now, waited.overtook);
        }
        waited.overtaken && now.saturating_sub(sent) >= lasting
    }

    /// Records that a request that was sent at `sent` was given up without an answer.
    ///
    /// A client's patience is not the endpoint's latency, so nothing is averaged. But if the request had waited for
    /// longer than usual, the endpoint may have stalled, and the silence goes on.
    pub(super) fn given_up(&self, sent: Micros, now: Micros) {
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

    /// Records a successful response head. `latency` is the time in seconds since the endpoint had received the whole
    /// request, or `None` if it says nothing about the endpoint. `probe` is whether the request was a probe.
    ///
    /// An endpoint that was ejected for its silence is admitted again by any answer, also by one to a request from
    /// before the ejection.
    pub(super) fn succeeded(&self, now: Micros, latency: Option<f32>, probe: bool) {
        self.proven.store(true, Relaxed);
        if let (true, Some(latency)) = (self.acquainted.swap(true, Relaxed), latency) {
            self.latency.succeeded(now, latency, self.siblings.median());
        }
        self.ejection.answered();
        if self.ejection.is_ejected() && (probe || self.ejection.is_silent()) {
            self.admit(now);
        }
    }

    /// Records that a request that was sent at `sent` has not been answered by now, and no longer will be. If it has taken
    /// longer than expected, that is what is expected from now on.
    pub(super) fn outlasted(&self, sent: Micros) {
        let now = self.clock();
        let took = now.saturating_sub(sent) as f32 * 1e-6;
        let Some(median) = self.siblings.median() else {
            return;
        };
        if took > self.latency.usual(median) {
            self.latency.succeeded(now, took, Some(median));
        }
    }

    /// Records that an attempt ended with success, its last byte included.
    pub(super) fn completed(&self, now: Micros) {
        self.ejection.completed(now);
    }

    /// Records a failure of the endpoint.
    pub(super) fn failed(&self, now: Micros, outcome: &Outcome) {
        self.latency.failed(now);
        self.ejection.failed(now, outcome);
        if let Some(ejection) = &self.siblings.settings().ejection {
            match self.ejection.is_ejected() || self.ejection.trip(ejection).is_none() {
                true => self.siblings.trouble(),
                false => self.siblings.alarm(),
            }
        }
    }

    /// Ejects the endpoint, and wakes the requests that wait for its answer: another endpoint may answer them.
    pub(super) fn eject(&self, now: Micros, trip: Trip, ejection: &Ejection) {
        self.ejection
            .eject(now, trip, ejection, self.siblings.random());
        if trip == Trip::Silent {
            self.waiters.wake();
        }
    }

    /// Begins a probe of an ejected endpoint, if one may be sent now.
    pub(super) fn begin_probe(&self) -> bool {
        let siblings = &self.siblings;
        self.ejection
            .begin_probe(siblings.now(), siblings.is_dead())
    }

    /// Ends a probe, which may have failed.
    pub(super) fn end_probe(&self, now: Micros, failed: bool) {
        if let Some(ejection) = &self.siblings.settings().ejection {
            let random = self.siblings.random();
            self.ejection.end_probe(now, failed, ejection, random);
            if self.ejection.is_ejected() {
                let due = self.ejection.next_probe(self.siblings.is_dead());
                self.siblings.probe_at(due);
            }
        }
    }

    /// Returns whether the endpoint was ejected since it does not answer at all, and if so, for how long a request that is
    /// waiting for it is given: a `probe` is there to find out whether it still does not.
    pub(super) fn patience(&self, probe: bool) -> Option<Duration> {
        let ejection = self.siblings.settings().ejection.as_ref()?;
        let head_start = || match probe {
            true => self.ejection.head_start(ejection),
            false => Duration::ZERO,
        };
        self.ejection.is_silent().then(head_start)
    }

    /// Returns when the next probe may be sent, or `None` if the endpoint is not ejected.
    pub(super) fn next_probe(&self) -> Option<Micros> {
        let dead = self.siblings.is_dead();
        self.ejection
            .is_ejected()
            .then(|| self.ejection.next_probe(dead))
    }

    /// Ends the ejection. The endpoint gets its full share only after a while.
    fn admit(&self, now: Micros) {
        let Some(ejection) = &self.siblings.settings().ejection else {
            return;
        };
        if let Some(away) = self.ejection.admit(now, ejection) {
            self.slow_start.restart(now, away);
            self.siblings.revive();
            // Others may be admitted or ejected now, and the panic may be over.
            self.siblings.alarm();
        }
    }

    /// Returns whether the endpoint has stalled, as far as can be told: it answers nothing, and others do.
    pub(crate) fn is_stalled(&self, now: Micros) -> bool {
        let Some(norms) = self.siblings.norms() else {
            return false;
        };
        let lasting = LASTING * self.latency.usual(norms.median);
        let wait = self.outstanding.wait(now);
        wait.is_some_and(|wait| wait.is_stall(lasting, norms.polls))
    }

    /// Records that the endpoint has to pass its active check before it gets its first request.
    pub(crate) fn await_check(&self) {
        self.check.store(Check::Awaited as u8, Relaxed);
        self.siblings.alarm();
    }

    /// Records that the endpoint passes its active check, which ends an ejection as well.
    pub(crate) fn check_passed(&self) {
        if self.check.swap(Check::Passed as u8, Relaxed) != Check::Passed as u8 {
            self.siblings.alarm();
        }
        self.admit(self.clock());
    }

    /// Records that the endpoint fails its active check.
    pub(crate) fn check_failed(&self) {
        self.check.store(Check::Failed as u8, Relaxed);
        self.siblings.alarm();
    }

    /// Records that the endpoint asked to be left alone for `wait`. Of several requests for that, the latest end
    /// counts.
    pub(super) fn leave_alone(&self, now: Micros, wait: Duration) {
        let wait = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX / 2);
        self.away_until.fetch_max(now.saturating_add(wait), Relaxed);
        self.siblings.trouble();
    }

    /// Completes when no request is in flight.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub(crate) async fn idle(&self) {
        loop {
            // Before the count is read, so that a notification in between is not missed.
            let idle = self.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// Returns how much `lasting` requests count, in requests, where endpoints usually have `usual` of them per unit of
/// weight. What all endpoints have is no reason to prefer one of them.
fn excess(lasting: u64, usual: f32, weight: NonZeroU32) -> f32 {
    (lasting as f32 - weight.get() as f32 * usual).max(0.0) * EXCESS
}
