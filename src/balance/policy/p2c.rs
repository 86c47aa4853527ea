//! Power of two choices, by tower's own `Balance`.
//!
//! Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (1996): the better of two drawn at random is
//! nearly as good as the best of all, costs the same at any number, and does not send every client to the same idle
//! server at once.
//!
//! tower's `Balance` cannot be cloned, so it does not send here: it balances light handles, and a handle's answer to a
//! [`Pick`] is its endpoint. `poll_ready` and `call` run in one critical section, because a removal between the two
//! would make the choice stale (tower#856). The lock is held for some 200 ns and never across an await.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError, mpsc},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use tower::{Service, balance::p2c::Balance, discover::Change, load, util::rng::Rng};

use super::picker::{Endpoints, PickInfo, Picked, Picker, PickerContext, cheapest};
use crate::endpoint::{Cost, Endpoint, Measure, Rank};

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

    pub(super) fn picker<S: Send + Sync>(&self, context: PickerContext) -> P2cPicker<S> {
        let (feed, changes) = mpsc::channel();
        let PickerContext { mut rng, waker } = context;
        let balance = Balance::from_rng(Feed(changes), SeededRng(rng.fork()));
        P2cPicker(Mutex::new(P2cState {
            measure: self.measure,
            balance,
            feed,
            members: HashMap::new(),
            next_id: 0,
            waker,
            rng,
            usual: 0.0,
        }))
    }
}

pub(super) struct P2cPicker<S>(Mutex<P2cState<S>>);

struct P2cState<S> {
    measure: Measure,
    balance: Balance<Feed<S>, Pick>,
    feed: mpsc::Sender<HandleChange<S>>,
    members: HashMap<Arc<str>, Member<S>>,
    next_id: u64,
    /// Wakes all who wait for an endpoint, when one becomes ready.
    waker: Waker,
    rng: fastrand::Rng,
    /// What a pick has cost of late.
    usual: f64,
}

struct Member<S> {
    id: u64,
    endpoint: Arc<Endpoint<S>>,
    handles: u32,
}

impl<S: Send + Sync> Picker<S> for P2cPicker<S> {
    fn update(&mut self, members: &Endpoints<S>) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.update(members);
        // The balance takes changes in when it is polled: now, so that what left is dropped now.
        state.draw();
    }

    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |endpoint: &Arc<Endpoint<S>>| info.untried(endpoint) && endpoint.rank() == Rank::Usable;
        let mut endpoint = state.draw()?;
        for _ in 0..REDRAWS {
            if fits(&endpoint) {
                break;
            }
            endpoint = state.draw()?;
        }
        if !fits(&endpoint) {
            let candidates = info.candidates(members).map(|(_, endpoint)| endpoint);
            endpoint = cheapest(candidates, state.measure)?.clone();
        }
        if state.measure == Measure::Latency && members.len() > 2 {
            endpoint = state.challenge(endpoint, members, fits);
        }
        Some(Picked::start(&endpoint))
    }
}

impl<S> P2cState<S> {
    fn draw(&mut self) -> Option<Arc<Endpoint<S>>> {
        let mut cx = Context::from_waker(&self.waker);
        // Neither handles nor their discovery fail, so an error here is none.
        let Poll::Ready(Ok(())) = self.balance.poll_ready(&mut cx) else {
            return None;
        };
        match pin!(self.balance.call(Pick)).poll(&mut cx) {
            Poll::Ready(Ok(endpoint)) => Some(endpoint),
            _ => None,
        }
    }

    /// Draws more, straight from the members, while the one picked costs more than is usual.
    fn challenge(
        &mut self,
        mut picked: Arc<Endpoint<S>>,
        members: &Endpoints<S>,
        fits: impl Fn(&Arc<Endpoint<S>>) -> bool,
    ) -> Arc<Endpoint<S>> {
        let mut least = picked.cost(self.measure);
        for _ in 0..RIVALS {
            if least.load() <= self.usual * USUAL_SLACK {
                break;
            }
            let rival = &members[self.rng.usize(..members.len())];
            let cost = rival.cost(self.measure);
            if cost < least && fits(rival) {
                (picked, least) = (rival.clone(), cost);
            }
        }
        self.usual += (least.load() - self.usual) / USUAL_PICKS;
        picked
    }

    fn update(&mut self, endpoints: &Endpoints<S>) {
        let now: HashMap<_, _> = endpoints
            .iter()
            .map(|endpoint| (endpoint.name(), endpoint))
            .collect();
        let feed = &self.feed;
        // The receiver is in the balance beside it, so nothing is lost.
        let change = |change| drop(feed.send(change));
        self.members.retain(|name, member| {
            let stays = now
                .get(name)
                .is_some_and(|endpoint| Arc::ptr_eq(endpoint, &member.endpoint));
            if !stays {
                (0..member.handles).for_each(|nth| change(Change::Remove((member.id, nth))));
            }
            stays
        });

        let total: u64 = endpoints
            .iter()
            .map(|endpoint| u64::from(endpoint.weight()))
            .sum();
        for endpoint in endpoints {
            let member = self
                .members
                .entry(endpoint.name().clone())
                .or_insert_with(|| {
                    self.next_id += 1;
                    Member {
                        id: self.next_id,
                        endpoint: endpoint.clone(),
                        handles: 0,
                    }
                });
            let wanted = handles(endpoint.weight(), total, endpoints.len());
            (member.handles..wanted).for_each(|nth| {
                change(Change::Insert(
                    (member.id, nth),
                    EndpointHandle(endpoint.clone(), self.measure),
                ));
            });
            (wanted..member.handles).for_each(|nth| change(Change::Remove((member.id, nth))));
            member.handles = wanted;
        }
    }
}

/// How many handles an endpoint needs so that it is drawn at least as often as its weight asks for.
///
/// Two draws of `n` see each endpoint with a chance of `2/n`, twice its share when all weigh the same. One that weighs
/// more than the mean gets a handle for each time that it does: no more, since a draw of two handles of the same
/// endpoint is no choice.
fn handles(weight: u32, total: u64, endpoints: usize) -> u32 {
    let (weight, endpoints) = (u128::from(weight), endpoints as u128);
    let rounded = (weight * endpoints + u128::from(total / 2)) / u128::from(total.max(1));
    u32::try_from(rounded).unwrap_or(u32::MAX).max(1)
}

/// Endpoint and number of the handle.
type HandleId = (u64, u32);
type HandleChange<S> = Change<HandleId, EndpointHandle<S>>;

/// The request of the balance: it is the same for every request of ours.
struct Pick;

/// What tower balances.
struct EndpointHandle<S>(Arc<Endpoint<S>>, Measure);

impl<S> Service<Pick> for EndpointHandle<S> {
    type Response = Arc<Endpoint<S>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, Pick: Pick) -> Self::Future {
        ready(Ok(self.0.clone()))
    }
}

impl<S> load::Load for EndpointHandle<S> {
    type Metric = Cost;

    fn load(&self) -> Cost {
        self.0.cost(self.1)
    }
}

/// The changes of handles, as the stream a `Balance` discovers by. It need not wake: whoever sends a change polls.
struct Feed<S>(mpsc::Receiver<HandleChange<S>>);

impl<S> Stream for Feed<S> {
    type Item = Result<HandleChange<S>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.try_recv() {
            Ok(change) => Poll::Ready(Some(Ok(change))),
            Err(_) => Poll::Pending,
        }
    }
}

/// Seedable, unlike tower's own.
struct SeededRng(fastrand::Rng);

impl Rng for SeededRng {
    fn next_u64(&mut self) -> u64 {
        self.0.u64(..)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::TestCluster, *};
    use crate::endpoint::EndpointSpec;

    #[test]
    fn reported_load_decides() {
        struct Gauge(f64);
        impl tower::load::Load for Gauge {
            type Metric = f64;
            fn load(&self) -> f64 {
                self.0
            }
        }
        let mut cluster = TestCluster::new(P2c::reported(), &[]);
        for (name, load) in [("0", 3.0), ("1", 1.0), ("2", 2.0)] {
            cluster.add(EndpointSpec::new(name, ()).load(Gauge(load)));
        }
        let picks = cluster.names(300);
        assert_eq!(picks.matches('0').count(), 0);
        assert!(picks.matches('1').count() > picks.matches('2').count());
    }
}
