//! What the attempts at an endpoint, and its active check, say about it: how the load takes notice of failures, of
//! successes, of an ejection and its end.
//!
//! The state of all that is part of [`Load`], whose other methods are in `load.rs`.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{
    load::{Check, LASTING, Load},
    siblings::Micros,
};
use crate::{
    health::{Ejection, Trip},
    record::Outcome,
    telemetry::{Timeline, TimelineKind},
};

impl Load {
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

    /// Records that the endpoint has turned a request away, by a 429.
    pub(super) fn turned_away(&self, now: Micros) {
        self.turned_away.count(now);
    }

    /// Records that a request that was sent at `sent` has not been answered by now, and no longer will be. If it has
    /// taken longer than expected, that is what is expected from now on.
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
    pub(super) fn completed(&self) {
        // By the clock of the last pick: the second in which it is counted need not be exact.
        self.ejection.completed(self.siblings.now());
    }

    /// Records a failure of the endpoint.
    pub(super) fn failed(&self, now: Micros, outcome: &Outcome) {
        self.latency.failed(now);
        self.ejection.failed(now, outcome);
        if let Some(ejection) = &self.siblings.settings().ejection {
            self.probe_when_due();
            match !self.ejection.is_ejected() && self.ejection.trips_now(ejection) {
                true => self.siblings.alarm(),
                false => self.siblings.trouble(),
            }
        }
    }

    /// Ejects the endpoint, and wakes the requests that wait for its answer: another endpoint may answer them.
    pub(super) fn eject(&self, now: Micros, trip: Trip, ejection: &Ejection) {
        if !self.ejection.is_ejected() {
            self.metrics.ejected(trip.as_str());
            self.note(TimelineKind::Ejected, || {
                Some(self.cause(now, trip, ejection))
            });
        }
        self.ejection
            .eject(now, trip, ejection, self.siblings.random());
        self.tell_availability();
        if trip.is_silent() {
            self.waiters.wake();
        }
    }

    /// Returns why the endpoint is ejected, for the timeline.
    fn cause(&self, now: Micros, trip: Trip, ejection: &Ejection) -> String {
        let limit = ejection.consecutive;
        let why = match trip {
            Trip::Failing => format!("{limit} failures in a row"),
            Trip::Silent => format!("no answer to {limit} requests in a row"),
            Trip::Stalled => return "no answer, while others answer".into(),
            Trip::BelowRate => {
                let rate = self.ejection.rate(now).share();
                format!("success rate {:.0} %", 100.0 * rate)
            }
        };
        match self.stats.last_error() {
            Some(error) => format!("{why}: {error}"),
            None => why,
        }
    }

    /// Notes in the timeline of the cluster what happens to the endpoint. `cause` is not called if nothing is kept.
    pub(crate) fn note(&self, kind: TimelineKind, cause: impl FnOnce() -> Option<String>) {
        if Timeline::KEEPS {
            let cause = cause().map(Arc::from);
            self.stats.changed(cause.clone());
            let timeline = self.siblings.timeline();
            timeline.add(self.id.name(), kind, cause);
        }
    }

    /// Begins a probe of an endpoint that is ejected or in doubt, if one may be sent now.
    pub(super) fn begin_probe(&self) -> bool {
        let siblings = &self.siblings;
        let (now, dead) = (siblings.now(), siblings.is_dead());
        // One in doubt is used as long as it may be, and not otherwise.
        (self.ejection.is_ejected() || self.availability().is_well())
            && self.ejection.begin_probe(now, dead)
    }

    /// Ends a probe, which may have failed.
    pub(super) fn end_probe(&self, now: Micros, failed: bool) {
        if let Some(ejection) = &self.siblings.settings().ejection {
            let random = self.siblings.random();
            self.ejection.end_probe(now, failed, ejection, random);
            self.probe_when_due();
        }
    }

    /// Has the next probe sent when it may be.
    fn probe_when_due(&self) {
        if let Some(due) = self.next_probe() {
            self.siblings.probe_at(due);
        }
    }

    /// Returns whether the endpoint was ejected since it does not answer at all, and if so, for how long a request that
    /// is waiting for it is given: a `probe` is there to find out whether it still does not.
    pub(super) fn patience(&self, probe: bool) -> Option<Duration> {
        let ejection = self.siblings.settings().ejection.as_ref()?;
        let head_start = || match probe {
            true => self.ejection.head_start(ejection),
            false => Duration::ZERO,
        };
        self.ejection.is_silent().then(head_start)
    }

    /// Returns when the next probe may be sent, or `None` if the endpoint is neither ejected nor in doubt.
    pub(super) fn next_probe(&self) -> Option<Micros> {
        self.siblings.settings().ejection.as_ref()?;
        self.ejection.next_probe(self.siblings.is_dead())
    }

    /// Returns whether a probe would find out whether the endpoint has to be ejected.
    pub(super) fn is_doubted(&self) -> bool {
        !self.ejection.is_ejected() && self.ejection.is_doubted()
    }

    /// Ends the ejection. The endpoint gets its full share only after a while.
    fn admit(&self, now: Micros) {
        let Some(ejection) = &self.siblings.settings().ejection else {
            return;
        };
        if let Some(away) = self.ejection.admit(now, ejection) {
            // Its failures were what it was ejected for; they must not count twice.
            self.latency.forgive(now);
            self.note(TimelineKind::Admitted, || None);
            self.metrics.admitted();
            self.tell_availability();
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

    /// Returns whether the endpoint was tried again after a long silence and has not answered since, so that it may
    /// turn out to have [stalled](Self::is_stalled) when that request is late, too.
    pub(crate) fn may_have_stalled(&self, now: Micros) -> bool {
        let wait = self.outstanding.wait(now);
        wait.is_some_and(|wait| wait.again > 0)
    }

    /// Records that the endpoint has to pass its active check before it gets its first request.
    pub(crate) fn await_check(&self) {
        self.check.store(Check::Awaited as u8, Relaxed);
        // No alarm, which would wake requests: the members are locked. The change that adds the endpoint wakes them.
        self.siblings.trouble();
    }

    /// Records that the endpoint passes its active check, which ends an ejection as well.
    pub(crate) fn check_passed(&self) {
        if self.check.swap(Check::Passed as u8, Relaxed) != Check::Passed as u8 {
            self.note(TimelineKind::PassedCheck, || None);
            self.siblings.alarm();
        }
        self.tell_availability();
        self.admit(self.clock());
    }

    /// Records that the endpoint fails its active check, and why. One that has yet to pass it stays so.
    pub(crate) fn check_failed(&self, reason: &str) {
        let (passed, failed) = (Check::Passed as u8, Check::Failed as u8);
        let _ = self
            .check
            .compare_exchange(passed, failed, Relaxed, Relaxed);
        self.tell_availability();
        self.note(TimelineKind::FailedCheck, || {
            Some(format!("health check failed: {reason}"))
        });
        self.siblings.alarm();
    }

    /// Records that the endpoint asked to be left alone for `wait`. Of several requests for that, the latest end
    /// counts.
    pub(super) fn leave_alone(&self, now: Micros, wait: Duration) {
        let wait = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX / 2);
        self.away_until.fetch_max(now.saturating_add(wait), Relaxed);
        self.tell_availability();
        self.siblings.trouble();
    }
}
