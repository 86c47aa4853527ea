//! [`EjectionState`]: what the attempts at one endpoint say about it, and whether it is ejected.
//!
//! ```text
//!              tripped, and the cluster agrees          the back-off has passed
//!   admitted ────────────────────────────────► ejected ────────────────────────► probation
//!      ▲                                          ▲                                  │
//!      │                                          └── the probe fails: back-off × 2 ─┤
//!      └──────────────────────────────────────────────── the probe succeeds ─────────┘
//! ```
//!
//! *Tripped* is an endpoint of which too many attempts have failed. Whether it is ejected is decided by the survey of
//! its cluster, since that depends on how many others are, and on how they do.
//!
//! Failures are counted in three runs, each of which something else ends:
//!
//! - failures before the response head, until a head arrives that is none;
//! - responses whose body broke, until one is complete;
//! - attempts in which nothing at all was heard, until something is.
//!
//! Everything is in relaxed atomics. Outcomes that are reported at the same time may be seen in either order.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Relaxed},
    },
    time::Duration,
};

use super::{
    ejection::Ejection,
    success_rate::{Rate, SuccessRate},
};
use crate::{
    clock::Micros,
    record::{Outcome, Stage},
};

/// How often an endpoint is tried again while none of its cluster answers. Requests fail at once meanwhile, so a
/// back-off of a minute would keep a cluster out of use that is well again.
const DEAD_BACKOFF: Micros = 800_000;

/// How often an endpoint is tried that has failed, and of which it is not known yet whether it should be ejected.
/// Requests avoid it, and would take long to show that.
const DOUBT: Micros = 100_000;

/// How long an endpoint must have worked for its next ejection to begin with the shortest back-off, at least.
const FORGIVEN_AFTER: Micros = 10_000_000;

/// The longest head start of a probe: a client should not wait longer than that for what is likely in vain.
const HEAD_START: Duration = Duration::from_secs(1);

/// How many standard deviations of a binomial distribution an endpoint's failures must exceed what those of its peers
/// let expect. Every survey asks, so that less would come about by chance within minutes.
const DEVIATIONS: f32 = 4.0;

/// Why an endpoint should be ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trip {
    /// It answers, but has failed several times in a row.
    Failing,
    /// It answers, but fails more often than it should.
    BelowRate,
    /// It has not answered several requests in a row.
    Silent,
    /// It answers nothing, and others do.
    Stalled,
}

impl Trip {
    /// Returns the name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::BelowRate => "below_rate",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
        }
    }

    /// Returns whether nothing is heard from the endpoint at all.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::Silent | Self::Stalled)
    }
}

/// What the attempts at one endpoint say about it, and whether it is ejected.
#[derive(Debug, Default)]
pub(crate) struct EjectionState {
    /// Failures before the response head.
    unavailable: AtomicU32,
    /// Responses whose body broke.
    broken: AtomicU32,
    /// Attempts in which nothing was heard.
    silent: AtomicU32,
    rate: SuccessRate,
    /// Whether it has failed since it last answered, and failed fast: a client hardly notices another attempt.
    doubted: AtomicBool,
    ejected: AtomicBool,
    /// Whether it was ejected for its silence. Of no meaning while it is admitted.
    is_silent: AtomicBool,
    /// When it was ejected last.
    since: AtomicU64,
    /// When the back-off ends, or ended.
    until: AtomicU64,
    /// When the last probe was sent, or when it was ejected or last doubted if that is later.
    probed: AtomicU64,
    /// The number of probes that have not ended.
    probes: AtomicU32,
    /// How many times the back-off has been doubled.
    doubled: AtomicU32,
    /// When it was admitted again.
    admitted: AtomicU64,
}

impl EjectionState {
    /// Counts a response head that reports no failure.
    pub(crate) fn answered(&self) {
        // Nearly always 0 already, and a store would take the cache line away from other threads.
        for run in [&self.unavailable, &self.silent] {
            if run.load(Relaxed) != 0 {
                run.store(0, Relaxed);
            }
        }
        if self.is_doubted() {
            self.doubted.store(false, Relaxed);
        }
    }

    /// Counts an attempt that ended with success.
    pub(crate) fn completed(&self, now: Micros) {
        if self.broken.load(Relaxed) != 0 {
            self.broken.store(0, Relaxed);
        }
        self.rate.add(now, false);
    }

    /// Counts an attempt at which the endpoint failed.
    pub(crate) fn failed(&self, now: Micros, outcome: &Outcome) {
        self.rate.add(now, true);
        if !self.is_ejected() {
            let fast = outcome.is_unavailable() && !outcome.is_timeout();
            self.doubted.store(fast, Relaxed);
            self.probed.store(now, Relaxed);
        }
        match outcome.is_silent() {
            true => drop(self.silent.fetch_add(1, Relaxed)),
            false => self.silent.store(0, Relaxed),
        }
        if outcome.is_unavailable() {
            self.unavailable.fetch_add(1, Relaxed);
        } else if outcome.stage() == Stage::Body && outcome.error().is_some() {
            self.broken.fetch_add(1, Relaxed);
        }
    }

    /// Returns the attempts of the last ten seconds.
    pub(crate) fn rate(&self, now: Micros) -> Rate {
        self.rate.get(now)
    }

    /// Returns why the endpoint should be ejected by its consecutive failures, or `None` if it need not be.
    pub(crate) fn trip(&self, ejection: &Ejection) -> Option<Trip> {
        let reached = |run: &AtomicU32| run.load(Relaxed) >= ejection.consecutive;
        if reached(&self.silent) {
            return Some(Trip::Silent);
        }
        (reached(&self.unavailable) || reached(&self.broken)).then_some(Trip::Failing)
    }

    /// Returns whether the last failure was the one by which the endpoint has to be ejected.
    ///
    /// Where it cannot be, since too many are already, each further failure would be a reason to look at all endpoints
    /// again.
    pub(crate) fn trips_now(&self, ejection: &Ejection) -> bool {
        let runs = [&self.unavailable, &self.broken, &self.silent];
        runs.iter()
            .any(|run| run.load(Relaxed) == ejection.consecutive)
    }

    /// Returns whether the endpoint's success rate is one to be ejected for, where that of its peers is `peers`.
    pub(crate) fn is_below(rate: Rate, peers: f32, ejection: &Ejection) -> bool {
        // Where all fail alike, the cause is common to all, and none of them would do better. One client may be that
        // cause, with requests that fail anywhere, and a few more of them here than there are chance.
        let attempts = rate.attempts as f32;
        let chance = DEVIATIONS * (attempts * peers * (1.0 - peers)).max(0.0).sqrt();
        rate.attempts >= ejection.min_requests.max(1)
            && rate.share() < ejection.rate
            && rate.share() < 0.9 * peers
            && rate.failures as f32 > attempts * (1.0 - peers) + chance
    }

    /// Returns whether it is ejected, in probation or not.
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    /// Returns whether it is ejected since it does not answer at all.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_ejected() && self.is_silent.load(Relaxed)
    }

    /// Returns when the back-off ends, or ended, of an endpoint that is ejected.
    pub(crate) fn until(&self) -> Micros {
        self.until.load(Relaxed)
    }

    /// Ejects the endpoint at `now`. Once more does nothing, but that it may be for its silence now.
    ///
    /// Called by one thread at a time. `random` is from 0 to 1.
    pub(crate) fn eject(&self, now: Micros, trip: Trip, ejection: &Ejection, random: f32) {
        if trip.is_silent() {
            self.is_silent.store(true, Relaxed);
        }
        if self.is_ejected() {
            return;
        }
        self.is_silent.store(trip.is_silent(), Relaxed);
        let away = self
            .until
            .load(Relaxed)
            .saturating_sub(self.since.load(Relaxed));
        let worked = now.saturating_sub(self.admitted.load(Relaxed));
        let forgiven = worked >= away.max(FORGIVEN_AFTER);
        let doubled = match (away, forgiven) {
            (0, _) | (_, true) => 0,
            (_, false) => self.doubled.load(Relaxed).saturating_add(1),
        };
        self.doubled.store(doubled, Relaxed);
        self.since.store(now, Relaxed);
        self.probed.store(now, Relaxed);
        self.until
            .store(now + backoff(doubled, ejection, random), Relaxed);
        self.ejected.store(true, Relaxed);
    }

    /// Returns when the next probe may be sent, at the earliest. `None` if the endpoint is neither ejected nor in
    /// doubt. `dead` is whether none of the cluster answers.
    pub(crate) fn next_probe(&self, dead: bool) -> Option<Micros> {
        let (ejected, probed) = (self.is_ejected(), self.probed.load(Relaxed));
        if !ejected && !self.is_doubted() {
            return None;
        }
        Some(match dead {
            // A probe that hangs must not keep the next one back: the endpoint may answer new requests.
            true => probed + DEAD_BACKOFF,
            false if self.probes.load(Relaxed) > 0 => Micros::MAX,
            false if ejected => self.until(),
            false => probed + DOUBT,
        })
    }

    /// Returns whether it has failed since it last answered, and should be tried again soon. Of no meaning while it is
    /// ejected.
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Relaxed)
    }

    /// Begins a probe if one may be sent at `now`. Of several threads that ask at the same time, one gets it.
    pub(crate) fn begin_probe(&self, now: Micros, dead: bool) -> bool {
        let probed = self.probed.load(Relaxed);
        if self.next_probe(dead).is_none_or(|due| now < due) {
            return false;
        }
        // In the tick of the ejection itself the time is the same, and so no proof that this thread was the first.
        let won = self
            .probed
            .compare_exchange(probed, now.max(probed + 1), AcqRel, Relaxed);
        if won.is_ok() {
            self.probes.fetch_add(1, Relaxed);
        }
        won.is_ok()
    }

    /// Ends a probe, which may have failed.
    pub(crate) fn end_probe(&self, now: Micros, failed: bool, ejection: &Ejection, random: f32) {
        if failed && self.is_ejected() {
            let doubled = self.doubled.load(Relaxed).saturating_add(1);
            self.doubled.store(doubled, Relaxed);
            let until = now + backoff(doubled, ejection, random);
            self.until.fetch_max(until, Relaxed);
        }
        self.probes.fetch_sub(1, AcqRel);
    }

    /// Returns for how long a probe is waited for before its request is sent elsewhere as well: a tenth of the
    /// back-off, and at most [`HEAD_START`].
    ///
    /// A probe needs a connection as a rule, and its rival does not. Without a head start, an endpoint that works again
    /// would lose to the others each time, and never come back. As this grows with the back-off, one that is slow to
    /// connect comes back as well.
    pub(crate) fn head_start(&self, ejection: &Ejection) -> Duration {
        (doubled(ejection, self.doubled.load(Relaxed)) / 10).min(HEAD_START)
    }

    /// Admits the endpoint again, and returns for how long it was away. `None` if it was not ejected.
    pub(crate) fn admit(&self, now: Micros, ejection: &Ejection) -> Option<Duration> {
        if !self.ejected.swap(false, AcqRel) {
            return None;
        }
        self.admitted.store(now, Relaxed);
        self.doubted.store(false, Relaxed);
        self.unavailable.store(0, Relaxed);
        self.silent.store(0, Relaxed);
        // A head is no proof of a whole body: one more that breaks will do.
        let broken = self.broken.load(Relaxed).min(ejection.consecutive - 1);
        self.broken.store(broken, Relaxed);
        let away = now.saturating_sub(self.since.load(Relaxed));
        Some(Duration::from_micros(away))
    }
}

/// Returns a back-off that has been doubled so many times, with up to a fifth more by `random`, from 0 to 1.
fn backoff(times: u32, ejection: &Ejection, random: f32) -> Micros {
    let wait = doubled(ejection, times).as_secs_f64() * (1.0 + 0.2 * f64::from(random));
    // Not so long that a sum with the time could overflow: a back-off of `Duration::MAX` is for good.
    (wait * 1e6).min(u64::MAX as f64 / 4.0) as Micros
}

/// Returns the shortest back-off, doubled so many times, and at most the longest.
fn doubled(ejection: &Ejection, times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    ejection.base.saturating_mul(factor).min(ejection.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_more_failures_than_those_of_the_peers_are_chance() {
        let below = |failures, peers| {
            let attempts = 48;
            let rate = Rate { attempts, failures };
            EjectionState::is_below(rate, peers, &Ejection::default())
        };
        // Twelve of 48, where the peers' rate lets eight be expected and up to seventeen come about by chance.
        assert!(!below(12, 0.84));
        assert!(!below(17, 0.84));
        assert!(below(18, 0.84));
        // Peers that never fail leave nothing to chance.
        assert!(below(12, 1.0));
        assert!(!below(9, 1.0), "that is not below the limit");
    }
}
