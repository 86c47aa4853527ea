//! Power of two choices.
//!
//! Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (1996): the better of two drawn at random is
//! nearly as good as the best of all, costs the same at any number, and does not send every client to the same idle
//! server at once. tower's `Balance` draws the two ([`handle_balance`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    handle_balance::{HandleBalance, Roster, handle_balance},
    picker::{Endpoints, PickInfo, Picked, Picker, cheapest},
    reported::ReportedPicker,
};
use crate::endpoint::{Endpoint, Measure, Rank};

/// How often a draw is repeated that gave an endpoint which should not be used, until all are looked at.
const REDRAWS: usize = 3;

/// How many more are drawn when the better of the two is dearer than usual. In a cluster of unlike endpoints two draws
/// are often two bad ones: with these, the slowest 1 % of the requests of scenario S8 take 218 ms instead of 312.
const RIVALS: usize = 8;

/// What is usual is a mean over about so many picks, and a little more.
const USUAL_PICKS: f64 = 64.0;
const USUAL_SLACK: f64 = 1.05;

/// The better of two endpoints drawn at random. The default.
///
/// "Better" is, in this order: ready rather than asking to be left alone; a lower
/// `(requests in flight + 1) × latency / weight`; picked longer ago. `docs/BALANCING.md` says how latency is estimated
/// and what that is worth.
#[derive(Clone, Copy, Debug)]
pub struct P2c {
    measure: Measure,
}

impl Default for P2c {
    fn default() -> Self {
        Self::new()
    }
}

impl P2c {
    /// By requests in flight and latency.
    #[must_use]
    pub fn new() -> Self {
        Self {
            measure: Measure::Latency,
        }
    }

    /// By requests in flight alone.
    #[must_use]
    pub fn in_flight() -> Self {
        Self {
            measure: Measure::InFlight,
        }
    }

    /// By what each endpoint's [own measure](crate::EndpointSpec::load) says; by requests in flight where it has none.
    #[must_use]
    pub fn reported() -> Self {
        Self {
            measure: Measure::Reported,
        }
    }

    pub(super) fn picker<S: Send + Sync + 'static>(
        &self,
        mut rng: fastrand::Rng,
    ) -> Arc<dyn Picker<S>> {
        if self.measure == Measure::Reported {
            return Arc::new(ReportedPicker::new(rng));
        }
        let (balance, roster) = handle_balance(rng.fork(), self.measure);
        Arc::new(P2cPicker {
            measure: self.measure,
            roster: Mutex::new(roster),
            draws: Mutex::new(Draws {
                balance,
                rng,
                usual: 0.0,
            }),
        })
    }
}

/// One for all sets that a cluster has: the balance is told of what changes.
pub(super) struct P2cPicker<S> {
    measure: Measure,
    /// Locked by changes alone.
    roster: Mutex<Roster<S>>,
    /// Locked by each pick, while it draws.
    draws: Mutex<Draws<S>>,
}

impl<S: Send + Sync + 'static> Picker<S> for P2cPicker<S> {
    fn updated(self: Arc<Self>, members: &Arc<Endpoints<S>>) -> Arc<dyn Picker<S>> {
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        for changes in roster.changes(members) {
            self.lock_draws().balance.change(changes);
        }
        drop(roster);
        self
    }

    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let fits =
            |endpoint: &Arc<Endpoint<S>>| info.untried(endpoint) && endpoint.rank() == Rank::Usable;
        let mut draws = self.lock_draws();
        let mut drawn = (0..=REDRAWS).map_while(|_| draws.balance.draw());
        let mut endpoint = match drawn.find(fits) {
            Some(endpoint) => endpoint,
            None => {
                let candidates = info.candidates(members).map(|(_, endpoint)| endpoint);
                cheapest(candidates, self.measure)?.clone()
            }
        };
        if self.measure == Measure::Latency && members.len() > 2 {
            endpoint = draws.challenge(endpoint, members, fits);
        }
        // Under the lock, so that the next pick sees it.
        Some(Picked::start(&endpoint))
    }
}

impl<S> P2cPicker<S> {
    fn lock_draws(&self) -> MutexGuard<'_, Draws<S>> {
        self.draws.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a pick changes.
struct Draws<S> {
    balance: HandleBalance<S>,
    rng: fastrand::Rng,
    /// What a pick has cost of late.
    usual: f64,
}

impl<S> Draws<S> {
    /// Draws more, straight from the members, while the one picked costs more than is usual.
    fn challenge(
        &mut self,
        mut picked: Arc<Endpoint<S>>,
        members: &Endpoints<S>,
        fits: impl Fn(&Arc<Endpoint<S>>) -> bool,
    ) -> Arc<Endpoint<S>> {
        let mut least = picked.cost(Measure::Latency);
        for _ in 0..RIVALS {
            if least.load() <= self.usual * USUAL_SLACK {
                break;
            }
            let rival = &members[self.rng.usize(..members.len())];
            let cost = rival.cost(Measure::Latency);
            if cost < least && fits(rival) {
                (picked, least) = (rival.clone(), cost);
            }
        }
        self.usual += (least.load() - self.usual) / USUAL_PICKS;
        picked
    }
}
