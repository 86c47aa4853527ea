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

use super::Picked;
use crate::endpoint::{Cost, Endpoint};

/// How often a draw is repeated that gave an endpoint which was tried before, until all are looked at.
const REDRAWS: usize = 3;

pub(in crate::balance) struct P2c<S>(Mutex<State<S>>);

struct State<S> {
    balance: Balance<Feed<S>, Pick>,
    feed: mpsc::Sender<HandleChange<S>>,
    members: HashMap<Arc<str>, Member<S>>,
    next_id: u64,
    /// See [`Endpoint::start`].
    clock: u64,
    /// Wakes all who wait for an endpoint, when one becomes ready.
    waker: Waker,
}

struct Member<S> {
    id: u64,
    endpoint: Arc<Endpoint<S>>,
    handles: u32,
}

impl<S> P2c<S> {
    pub(in crate::balance) fn new(rng: fastrand::Rng, waker: Waker) -> Self {
        let (feed, changes) = mpsc::channel();
        let balance = Balance::from_rng(Feed(changes), Random(rng));
        Self(Mutex::new(State { balance, feed, members: HashMap::new(), next_id: 0, clock: 0, waker }))
    }

    /// Makes the endpoints that can be picked be `endpoints`. When it returns, no other will be.
    pub(in crate::balance) fn update(&self, endpoints: &[Arc<Endpoint<S>>]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.update(endpoints);
        // The balance takes changes in when it is polled: now, so that what left is dropped now.
        state.draw();
    }

    /// An endpoint that is not one of `tried`; none if there is no other.
    pub(in crate::balance) fn pick(&self, tried: &[Arc<Endpoint<S>>]) -> Option<Picked<S>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let untried = |endpoint: &Arc<Endpoint<S>>| !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint));
        let mut endpoint = state.draw()?;
        for _ in 0..REDRAWS {
            if untried(&endpoint) {
                break;
            }
            endpoint = state.draw()?;
        }
        if !untried(&endpoint) {
            let left = state.members.values().map(|member| &member.endpoint).filter(|e| untried(e));
            endpoint = left.min_by(|a, b| a.cost().compare(&b.cost()))?.clone();
        }
        let in_flight = endpoint.start(&mut state.clock);
        Some(Picked { endpoint, in_flight })
    }
}

impl<S> State<S> {
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

    fn update(&mut self, endpoints: &[Arc<Endpoint<S>>]) {
        let now: HashMap<_, _> = endpoints.iter().map(|endpoint| (endpoint.name(), endpoint)).collect();
        let feed = &self.feed;
        // The receiver is in the balance beside it, so nothing is lost.
        let change = |change| drop(feed.send(change));
        self.members.retain(|name, member| {
            let stays = now.get(name).is_some_and(|endpoint| Arc::ptr_eq(endpoint, &member.endpoint));
            if !stays {
                (0..member.handles).for_each(|nth| change(Change::Remove((member.id, nth))));
            }
            stays
        });

        let total: u64 = endpoints.iter().map(|endpoint| u64::from(endpoint.weight())).sum();
        for endpoint in endpoints {
            let member = self.members.entry(endpoint.name().clone()).or_insert_with(|| {
                self.next_id += 1;
                Member { id: self.next_id, endpoint: endpoint.clone(), handles: 0 }
            });
            let wanted = handles(endpoint.weight(), total, endpoints.len());
            (member.handles..wanted).for_each(|nth| {
                change(Change::Insert((member.id, nth), Handle(endpoint.clone())));
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
type HandleChange<S> = Change<HandleId, Handle<S>>;

/// The request of the balance: it is the same for every request of ours.
struct Pick;

/// What tower balances.
struct Handle<S>(Arc<Endpoint<S>>);

impl<S> Service<Pick> for Handle<S> {
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

impl<S> load::Load for Handle<S> {
    type Metric = Cost;

    fn load(&self) -> Cost {
        self.0.cost()
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
struct Random(fastrand::Rng);

impl Rng for Random {
    fn next_u64(&mut self) -> u64 {
        self.0.u64(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::EndpointSpec;

    fn endpoints(weights: &[u32]) -> Vec<Arc<Endpoint<()>>> {
        let spec = |(i, weight): (usize, &u32)| EndpointSpec::new(i.to_string(), ()).weight(*weight).unwrap();
        weights.iter().enumerate().map(spec).map(|spec| Arc::new(Endpoint::new(spec))).collect()
    }

    fn policy(endpoints: &[Arc<Endpoint<()>>]) -> P2c<()> {
        let policy = P2c::new(fastrand::Rng::with_seed(1), Waker::noop().clone());
        policy.update(endpoints);
        policy
    }

    #[test]
    fn two_idle_endpoints_take_turns() {
        let endpoints = endpoints(&[1, 1]);
        let policy = policy(&endpoints);
        let names: Vec<_> =
            (0..6).filter_map(|_| policy.pick(&[])).map(|p| p.endpoint.name().clone()).collect();
        assert_ne!(names[0], names[1]);
        assert_eq!(names[..2], names[2..4]);
        assert_eq!(names[..2], names[4..]);
    }

    #[test]
    fn shares_follow_weights() {
        for weights in [&[1, 1, 1][..], &[5, 1, 1], &[10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[100, 100, 1]] {
            let endpoints = endpoints(weights);
            let policy = policy(&endpoints);
            let total: u32 = weights.iter().sum();
            let mut counts = vec![0u32; weights.len()];
            // Twice the total in flight, so that load and not the turn decides.
            let mut busy = std::collections::VecDeque::new();
            for _ in 0..20_000 {
                let picked = policy.pick(&[]).unwrap();
                counts[picked.endpoint.name().parse::<usize>().unwrap()] += 1;
                busy.push_back(picked);
                if busy.len() > 2 * total as usize {
                    busy.pop_front();
                }
            }
            for (weight, count) in weights.iter().zip(&counts) {
                let fair = f64::from(*weight) / f64::from(total);
                let share = f64::from(*count) / 20_000.0;
                assert!((share / fair - 1.0).abs() < 0.25, "{weights:?} gave {counts:?}");
            }
        }
    }

    #[test]
    fn tried_ones_are_not_picked_again() {
        let endpoints = endpoints(&[1; 10]);
        let policy = policy(&endpoints);
        let mut tried = Vec::new();
        while let Some(picked) = policy.pick(&tried) {
            tried.push(picked.endpoint);
        }
        assert_eq!(tried.len(), 10);
    }

    #[test]
    fn what_left_is_neither_picked_nor_kept() {
        let mut endpoints = endpoints(&[1, 4, 1]);
        let policy = policy(&endpoints);
        let gone = Arc::downgrade(&endpoints.remove(1));
        policy.update(&endpoints);
        assert!(gone.upgrade().is_none());
        assert!((0..100).all(|_| policy.pick(&[]).unwrap().endpoint.name().as_ref() != "1"));
        policy.update(&[]);
        assert!(policy.pick(&[]).is_none());
        policy.update(&endpoints);
        assert!(policy.pick(&[]).is_some());
    }
}
