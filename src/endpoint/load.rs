//! The load of an endpoint: what is in flight there, and whether it may be given more.
//!
//! A request counts from the moment its endpoint is picked until the last byte of its response has left, so that a long
//! download counts for as long as it lasts. It counts from the pick and not from the sending, since picks of the same
//! moment would otherwise all see the same idle endpoint.
//!
//! Two more files have methods of [`Load`]: `costing.rs` says what one more request would cost, and `health.rs` takes
//! notice of failures and successes.
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
    in_flight_limit::InFlightLimit,
    latency::{Latency, Sample},
    outstanding::{End, Outstanding},
    request_counter::{RequestCounter, RequestCounts},
    siblings::{Micros, Siblings, micros},
    slow_start::SlowStart,
    turn::Turn,
    turned_away::TurnedAway,
    waiters::Waiters,
};
use crate::{
    health::EjectionState,
    record::EndpointId,
    telemetry::{EndpointMetrics, EndpointStats, TimelineKind},
};

/// The `away_until` of an endpoint that drains.
const NEVER: Micros = Micros::MAX;

/// The age at which a request counts as lasting, as a multiple of the usual latency. With 16, slow uploads moved the
/// shares of endpoints by 10 % rather than 6.
pub(super) const LASTING: f32 = 8.0;

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
    /// Its name and that of its cluster.
    pub(super) id: Arc<EndpointId>,
    pub(super) siblings: Arc<Siblings>,
    pub(super) latency: Arc<Latency>,
    pub(super) requests: RequestCounter,
    pub(super) limit: InFlightLimit,
    pub(super) outstanding: Outstanding,
    /// The requests that the endpoint turned away.
    pub(super) turned_away: TurnedAway,
    /// Whether it has answered successfully since it was inserted, or did not have to.
    pub(super) proven: AtomicBool,
    /// Whether it has answered since it was inserted, so that the next latency does not include connecting.
    pub(super) acquainted: AtomicBool,
    /// From when it was inserted, if an endpoint of the cluster had answered before; or admitted again.
    pub(super) slow_start: SlowStart,
    /// What its attempts say about it, and whether it is ejected.
    pub(super) ejection: EjectionState,
    /// What its active check says, as a [`Check`].
    pub(super) check: AtomicU8,
    /// When it may be given requests again: [`NEVER`] while it drains.
    pub(super) away_until: AtomicU64,
    /// Its turn among endpoints that cost the same.
    pub(super) turn: Turn,
    /// Notified when no request is in flight any more.
    pub(super) idle: Notify,
    /// The requests that wait for something of the endpoint.
    pub(super) waiters: Waiters,
    /// What is counted of its attempts, for the status.
    pub(super) stats: EndpointStats,
    pub(super) metrics: EndpointMetrics,
}

/// What an active check says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Check {
    /// It is passed, or there is none.
    Passed,
    /// It fails.
    Failed,
    /// It has to be passed before the first request, and has not been yet.
    Awaited,
}

impl Load {
    /// Makes the load of an endpoint that is inserted now. `latency` is the estimate of the last endpoint of its name.
    pub(crate) fn new(id: Arc<EndpointId>, siblings: Arc<Siblings>, latency: Arc<Latency>) -> Self {
        let newcomer = siblings.median().map(|_| siblings.clock());
        let load = Self {
            metrics: EndpointMetrics::of_endpoint(&id),
            id,
            limit: InFlightLimit::new(siblings.settings()),
            siblings,
            latency,
            requests: RequestCounter::default(),
            outstanding: Outstanding::default(),
            turned_away: TurnedAway::default(),
            proven: AtomicBool::new(newcomer.is_none()),
            acquainted: AtomicBool::default(),
            slow_start: SlowStart::new(newcomer),
            ejection: EjectionState::default(),
            check: AtomicU8::new(Check::Passed as u8),
            away_until: AtomicU64::default(),
            turn: Turn::default(),
            idle: Notify::default(),
            waiters: Waiters::default(),
            stats: EndpointStats::default(),
        };
        if newcomer.is_some() {
            load.note(TimelineKind::Added, || None);
        }
        load
    }

    /// Returns its name and that of its cluster.
    pub(super) fn id(&self) -> &Arc<EndpointId> {
        &self.id
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
        self.tell_availability();
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
        self.tell_availability();
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
        if self.siblings.is_full() || self.requests.total() >= self.limit.get() {
            return Availability::Full;
        }
        match self.proven.load(Relaxed) || self.is_idle() {
            true => Availability::Usable,
            false => Availability::Untested,
        }
    }

    /// Has the metrics know whether the endpoint is available. To be called where that may have changed.
    pub(super) fn tell_availability(&self) {
        self.metrics.available(|| self.availability().is_well());
    }

    /// Returns how the endpoint ranks among its siblings.
    pub(super) fn rank(&self) -> Rank {
        self.availability().rank(self.siblings.panic())
    }

    /// Returns the latency estimate, which the cluster remembers when the endpoint leaves.
    pub(crate) fn remembered(&self) -> &Arc<Latency> {
        &self.latency
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
        if !self.requests.begin(now, lasting, self.limit.get()) {
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

    /// Records that a request that was sent at `sent` has a response head, or that it was given up for the lack of one:
    /// what the in-flight limit may learn from. `overloaded` is whether the endpoint may have had too many.
    pub(super) fn learn_limit(&self, sent: Micros, now: Micros, overloaded: bool) {
        let took = Duration::from_micros(now.saturating_sub(sent));
        self.limit.learn(took, self.requests.total(), overloaded);
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
