//! tower's `Balance` over light handles.
//!
//! tower's `Balance` cannot be cloned, so it does not send here: it balances handles, and a handle's answer to a
//! [`Pick`] is its endpoint. `poll_ready` and `call` run in one critical section, because a removal between the two
//! would make the choice stale (tower#856). The lock around it is held for some 200 ns and never across an await.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Future, Ready, ready},
    mem,
    pin::{Pin, pin},
    sync::{Arc, mpsc},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use tower::{Service, balance::p2c::Balance, discover::Change, load::Load, util::rng::Rng};
use tracing::{Dispatch, dispatcher::with_default, level_filters::LevelFilter};

use super::picker::Endpoints;
use crate::endpoint::{Cost, Endpoint, Measure};

/// How many changes the balance takes in at once. Picks wait meanwhile, for about 0.1 ms.
const CHANGES_AT_ONCE: usize = 128;

/// A balance of no handles yet, and what keeps account of them.
pub(super) fn handle_balance<S>(
    rng: fastrand::Rng,
    measure: Measure,
) -> (HandleBalance<S>, Roster<S>) {
    let (feed, changes) = mpsc::channel();
    let balance = HandleBalance {
        balance: Balance::from_rng(ChangeFeed(changes), SeededRng(rng)),
        feed,
    };
    let roster = Roster {
        measure,
        entries: HashMap::new(),
        next_id: 0,
        sets: 0,
    };
    (balance, roster)
}

/// Draws two endpoints and gives the better one.
pub(super) struct HandleBalance<S> {
    balance: Balance<ChangeFeed<S>, Pick>,
    feed: mpsc::Sender<HandleChange<S>>,
}

impl<S> HandleBalance<S> {
    /// The better of two endpoints drawn at random. `None` if there are none.
    pub(super) fn draw(&mut self) -> Option<Arc<Endpoint<S>>> {
        // Handles are always ready, so there is nothing to be woken for.
        let mut cx = Context::from_waker(Waker::noop());
        // Neither handles nor their discovery fail, so an error here is none.
        let Poll::Ready(Ok(())) = unlogged(|| self.balance.poll_ready(&mut cx)) else {
            return None;
        };
        match pin!(self.balance.call(Pick)).poll(&mut cx) {
            Poll::Ready(Ok(endpoint)) => Some(endpoint),
            _ => None,
        }
    }

    /// Takes in changes of the [`Roster`].
    pub(super) fn change(&mut self, changes: Vec<HandleChange<S>>) {
        for change in changes {
            // The receiver is in the balance, so nothing is lost.
            let _ = self.feed.send(change);
        }
        // The balance looks at its feed when it is polled: now, while the cluster still has what leaves.
        self.draw();
    }
}

/// Keeps what tower's balance logs on each pick from the user's subscriber, which must not run under a lock.
fn unlogged<T>(poll: impl FnOnce() -> T) -> T {
    if LevelFilter::current() < LevelFilter::DEBUG {
        return poll();
    }
    with_default(&Dispatch::none(), poll)
}

/// Keeps account of the handles that the balance has.
pub(super) struct Roster<S> {
    measure: Measure,
    /// By address. That of an endpoint that is kept here is no other's.
    entries: HashMap<usize, RosterEntry<S>>,
    next_id: u64,
    /// Counts the sets, to tell what is in the latest from what is left of the one before.
    sets: u64,
}

struct RosterEntry<S> {
    id: u64,
    endpoint: Arc<Endpoint<S>>,
    handles: u32,
    set: u64,
}

impl<S> Roster<S> {
    /// What makes the balance have `endpoints`, in steps. What comes is before what goes, so that the balance is never
    /// empty in between.
    pub(super) fn changes(
        &mut self,
        endpoints: &Endpoints<S>,
    ) -> impl Iterator<Item = Vec<HandleChange<S>>> + use<S> {
        self.sets += 1;
        let mut removals = Vec::<HandleId>::new();
        let mut changes = Vec::new();
        let weights = endpoints.iter().map(|endpoint| endpoint.weight());
        let total = weights.map(u64::from).sum();
        for endpoint in endpoints {
            let entry = self.entries.entry(Arc::as_ptr(endpoint).addr());
            let entry = entry.or_insert_with(|| {
                self.next_id += 1;
                RosterEntry {
                    id: self.next_id,
                    endpoint: endpoint.clone(),
                    handles: 0,
                    set: 0,
                }
            });
            entry.set = self.sets;
            let wanted = handles(endpoint.weight(), total, endpoints.len());
            let had = mem::replace(&mut entry.handles, wanted);
            for nth in had..wanted {
                let handle = EndpointHandle(entry.endpoint.clone(), self.measure);
                changes.push(Change::Insert((entry.id, nth), handle));
            }
            removals.extend((wanted..had).map(|nth| (entry.id, nth)));
        }
        self.entries.retain(|_, entry| {
            let stays = entry.set == self.sets;
            if !stays {
                removals.extend((0..entry.handles).map(|nth| (entry.id, nth)));
            }
            stays
        });
        // The order decides what the next draws give, and a seed makes them repeatable.
        removals.sort_unstable();
        changes.extend(removals.into_iter().map(Change::Remove));
        let mut changes = changes.into_iter();
        std::iter::from_fn(move || {
            let some: Vec<_> = changes.by_ref().take(CHANGES_AT_ONCE).collect();
            (!some.is_empty()).then_some(some)
        })
    }
}

/// How many handles an endpoint needs so that it is drawn at least as often as its weight asks for.
///
/// Two draws of `n` see each endpoint with a chance of `2/n`, twice its share when all weigh the same. One that weighs
/// more than the mean gets a handle for each time that it does: no more, since a draw of two handles of the same
/// endpoint is no choice.
pub(super) fn handles(weight: u32, total: u64, endpoints: usize) -> u32 {
    let scaled = u64::from(weight).saturating_mul(endpoints as u64);
    let rounded = scaled.saturating_add(total / 2) / total.max(1);
    u32::try_from(rounded).unwrap_or(u32::MAX).max(1)
}

/// Endpoint and number of the handle.
type HandleId = (u64, u32);
type HandleChange<S> = Change<HandleId, EndpointHandle<S>>;

/// The request of the balance: it is the same for every request of ours.
struct Pick;

/// What tower balances.
pub(super) struct EndpointHandle<S>(Arc<Endpoint<S>>, Measure);

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

impl<S> Load for EndpointHandle<S> {
    type Metric = Cost;

    fn load(&self) -> Cost {
        self.0.cost(self.1)
    }
}

/// The changes of handles, as the stream a `Balance` discovers by. It need not wake: whoever sends a change polls.
struct ChangeFeed<S>(mpsc::Receiver<HandleChange<S>>);

impl<S> Stream for ChangeFeed<S> {
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
