//! [`P2c`]: the power of two choices.
//!
//! Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (1996): the better of two drawn at random is
//! nearly as good as the best of all, costs the same at any number, and does not send every client to the same idle
//! server at once. tower's `Balance` draws the two ([`handle_balance`]).
//!
//! A pick goes through these steps:
//!
//! 1. tower's `Balance` draws two endpoints and gives the cheaper. That is repeated a few times while the endpoint
//!    should not be used ([`REDRAWS`]).
//! 2. If no draw gave one, the cheapest of all candidates is taken.
//! 3. By latency only: while the endpoint costs more than picks usually do, others are drawn and may take its place
//!    ([`RIVALS`]).
//!
//! In a cluster of two endpoints, or of a few whose weights differ ([`FEW`]), the cheapest of all is taken instead.
//!
//! All of it, with the count of the request at the end, is under one lock, so picks at the same time see each other.
//! [`P2c::reported`] cannot be picked under a lock and has a picker of its own, in [`reported`](super::reported).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    handle_balance::{Drawn, HandleBalance, Roster, handle_balance},
    picker::{Endpoints, PickInfo, Picked, Picker, cheapest},
    reported::ReportedPicker,
};
use crate::endpoint::{Endpoint, Measure, Rank};

/// How often a draw is repeated when it gave an endpoint that should not be used, before all are looked at.
///
/// With half of a cluster unusable, more than that being a panic in which all are used, one draw of two misses with a
/// chance of 1/4, and all four with less than 1/250.
const REDRAWS: usize = 3;

/// How many more endpoints are drawn, at most, when the better of the two costs more than usual.
///
/// In a cluster of unlike endpoints, two draws often give two bad ones: with these, the slowest 1 % of the requests of
/// scenario S8 take 218 ms instead of 312. The price is paid where costs differ by chance alone: `docs/BALANCING.md`
/// has the figures for other numbers, and for long polls.
const RIVALS: usize = 8;

/// Up to how many members of unlike weights [`P2c::in_flight`] compares all of them, rather than two drawn at random.
/// [`P2c::new`] does so up to [`RIVALS`], which it may draw anyway.
///
/// Two draws see an endpoint more or less often than its weight asks for. Among many endpoints that hardly matters;
/// among three of the weights 3, 2 and 1, the first got 2.9 percentage points too little in scenario S23. With a
/// larger number, many proxies would all choose the same idle endpoint: with 100 of them and six endpoints, the
/// slowest 1 % of the requests took 1.6 s rather than 0.4.
const FEW: usize = 4;

/// The usual cost is an exponential moving average; this is about how many picks it looks back.
const USUAL_PICKS: f64 = 64.0;

/// How much above the average still is usual, as a factor, so that a cluster of equals does not draw more each time.
const USUAL_SLACK: f64 = 1.05;

/// Picks the better of two endpoints drawn at random. The default policy.
///
/// "Better" is, in this order:
///
/// 1. usable, rather than new and not yet proven by a response, rather than asking to be left alone;
/// 2. a lower `(requests in flight + 1) × latency / weight`. Two endpoints that are both idle are compared by latency
///    alone, and those within 10 % of the cluster's median are equal. So are two of different weights whose loads
///    differ by no more than the size of one request, and, in a cluster of different weights, all latencies within
///    20 %;
/// 3. further behind its turn by weight, then picked longer ago.
///
/// If the better of the two costs more than usual, up to eight more are drawn. If the weights differ and there are no
/// more than eight endpoints, or four with [`in_flight`](Self::in_flight), all of them are compared. So each of
/// several equally fast endpoints gets its share by weight to within a percentage point. `docs/BALANCING.md` says how
/// latency is estimated, and what each part is worth.
///
/// A pick takes the same time at any number of endpoints. It holds a lock meanwhile, so picks are made one by one.
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
    /// Compares by requests in flight and latency.
    #[must_use]
    pub fn new() -> Self {
        Self {
            measure: Measure::Latency,
        }
    }

    /// Compares by requests in flight alone. No more endpoints are drawn when the better of the two costs more than
    /// usual.
    ///
    /// This is better than [`new`](Self::new) where the time to the response head says little about an endpoint, as
    /// with long polls.
    #[must_use]
    pub fn in_flight() -> Self {
        Self {
            measure: Measure::InFlight,
        }
    }

    /// Compares by each endpoint's own [load measure](crate::EndpointSpec::load), divided by its weight; for an
    /// endpoint without one, by its requests in flight.
    ///
    /// The two are compared with each other as numbers. So either all endpoints should have a measure, or measures
    /// should be counts of requests, too.
    #[must_use]
    pub fn reported() -> Self {
        Self {
            measure: Measure::Reported,
        }
    }

    /// Returns the name from which it is parsed; the last one has none.
    #[cfg(feature = "status")]
    pub(super) fn name(&self) -> &'static str {
        match self.measure {
            Measure::Latency => "p2c",
            Measure::InFlight => "p2c-in-flight",
            Measure::Reported => "p2c-reported",
        }
    }

    /// Makes a picker over no endpoints yet.
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
                mean_weight: 1.0,
                uneven: false,
            }),
        })
    }
}

/// The picker of [`P2c::new`] and [`P2c::in_flight`].
///
/// One serves all snapshots of a cluster: a change updates tower's `Balance` in place, since a `Balance` cannot be
/// cloned. Locks are taken in the order of the fields.
pub(super) struct P2cPicker<S> {
    measure: Measure,
    /// Locked by changes only, so that picks go on while the changes of handles are worked out.
    roster: Mutex<Roster<S>>,
    /// Locked by each pick, and by each step of a change. Never held across an await.
    draws: Mutex<Draws<S>>,
}

impl<S: Send + Sync + 'static> Picker<S> for P2cPicker<S> {
    fn updated(self: Arc<Self>, members: &Arc<Endpoints<S>>) -> Arc<dyn Picker<S>> {
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        // One lock per step, so that picks get in between the steps of a large change.
        for changes in roster.changes(members) {
            self.lock_draws().balance.change(changes);
        }
        drop(roster);
        self.lock_draws().weigh(members);
        self
    }

    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let fits =
            |endpoint: &Arc<Endpoint<S>>| info.untried(endpoint) && endpoint.rank() == Rank::Usable;
        let mut draws = self.lock_draws();
        let few = match self.measure {
            Measure::Latency => RIVALS,
            _ => FEW,
        };
        // Two draws among two would be both of them.
        if members.len() <= 2 || draws.uneven && members.len() <= few {
            let start = draws.rng.usize(..members.len().max(1));
            return cheapest(info.untried_from(members, start), self.measure).map(Picked::start);
        }
        let mut drawn = (0..=REDRAWS).map_while(|_| draws.balance.draw());
        let drawn = match drawn.find(|drawn| fits(&drawn.endpoint)) {
            Some(drawn) => drawn,
            None => {
                let candidates = info.candidates(members).map(|(_, endpoint)| endpoint);
                let endpoint = cheapest(candidates, self.measure)?.clone();
                Drawn {
                    endpoint,
                    cost: None,
                }
            }
        };
        let endpoint = match self.measure {
            Measure::Latency => draws.challenge(drawn, members, fits),
            _ => drawn.endpoint,
        };
        // Under the lock, so that the next pick sees the request.
        Some(Picked::start(&endpoint))
    }
}

impl<S> P2cPicker<S> {
    /// Locks the draws. Poisoning is ignored, here as in all pickers: a pick that panicked must not fail all later
    /// ones.
    fn lock_draws(&self) -> MutexGuard<'_, Draws<S>> {
        self.draws.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state that a pick changes.
struct Draws<S> {
    balance: HandleBalance<S>,
    /// Draws the rivals. The balance has a generator of its own.
    rng: fastrand::Rng,
    /// The average cost of the endpoints picked of late. It starts at 0, so the first picks draw all rivals.
    usual: f64,
    /// The mean weight of the latest members, at which costs are compared with `usual`.
    mean_weight: f64,
    /// Whether the weights of the latest members differ.
    uneven: bool,
}

impl<S> Draws<S> {
    /// Takes over the weights of a changed set of members.
    fn weigh(&mut self, members: &Endpoints<S>) {
        let weights = || members.iter().map(|member| member.weight());
        if let Some(first) = weights().next() {
            self.mean_weight = weights().map(f64::from).sum::<f64>() / members.len() as f64;
            self.uneven = weights().any(|weight| weight != first);
        }
    }

    /// Draws up to [`RIVALS`] more endpoints while the one picked costs more than usual, and returns the cheapest.
    ///
    /// They are drawn from `members` uniformly, whatever their weights: the weight is part of the cost, and an endpoint
    /// drawn twice does no harm. `members` must not be empty.
    fn challenge(
        &mut self,
        drawn: Drawn<S>,
        members: &Endpoints<S>,
        fits: impl Fn(&Arc<Endpoint<S>>) -> bool,
    ) -> Arc<Endpoint<S>> {
        let mut picked = drawn.endpoint;
        let mut least = drawn.cost.unwrap_or_else(|| picked.cost(Measure::Latency));
        for _ in 0..RIVALS {
            if least.load_at(self.mean_weight) <= self.usual * USUAL_SLACK {
                break;
            }
            let rival = &members[self.rng.usize(..members.len())];
            let cost = rival.cost(Measure::Latency);
            if cost < least && fits(rival) {
                (picked, least) = (rival.clone(), cost);
            }
        }
        // By what is picked in the end, so that `usual` says what these draws achieve.
        self.usual += (least.load_at(self.mean_weight) - self.usual) / USUAL_PICKS;
        picked
    }
}
