//! tower's `Balance` over light handles: the adapter through which tower draws two endpoints.
//!
//! tower's `Balance` cannot be cloned, as axum requires of a service, and a `Buffer` around it costs a task hop per
//! request. So it does not send here. It balances [`EndpointHandle`]s, which are always ready and whose response to a
//! [`Pick`] is their endpoint; the request then goes to the endpoint's own service. `poll_ready` and `call` run in one
//! critical section, because a removal between the two would make the choice stale (tower#856). The lock around it is
//! held for some 200 ns, and never across an await.
//!
//! - [`Roster`] knows the handles that the balance has, and computes the changes from one set of endpoints to the next.
//! - [`ChangeFeed`] is the `Discover` of the balance, and yields those changes.
//! - [`HandleBalance`] draws.
//!
//! The weight is expressed in two ways: in the cost, which the balance compares, and in the number of [`handles`] of an
//! endpoint, so that it is drawn often enough to get its share.
//!
//! No other file uses tower's `Balance`.

use std::{
    cell::Cell,
    collections::HashMap,
    convert::Infallible,
    future::{Future, Ready, ready},
    hash::{Hash, Hasher},
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

/// How many changes of handles the balance takes in at once. Picks wait meanwhile, for about 0.1 ms.
const CHANGES_AT_ONCE: usize = 128;

/// Makes a balance over no handles yet, and the roster that computes its changes.
///
/// The handles compare by `measure`, which must not be [`Measure::Reported`]: tower compares under the lock, and a load
/// measure is code of the user.
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

/// Draws two endpoints at random and returns the better one.
pub(super) struct HandleBalance<S> {
    balance: Balance<ChangeFeed<S>, Pick>,
    /// The other end of the balance's [`ChangeFeed`].
    feed: mpsc::Sender<HandleChange<S>>,
}

impl<S> HandleBalance<S> {
    /// Returns the better of two endpoints drawn at random; the only one if there is one, and `None` if there is none.
    ///
    /// Both draws may be of the same endpoint if it has several handles. Nothing is counted.
    pub(super) fn draw(&mut self) -> Option<Drawn<S>> {
        // Handles are always ready, so nothing ever needs to wake.
        let mut cx = Context::from_waker(Waker::noop());
        // Neither handles nor their discovery fail, so this is `Pending` or `Ok`. A balance without any handle is
        // pending.
        let Poll::Ready(Ok(())) = unlogged(|| self.balance.poll_ready(&mut cx)) else {
            return None;
        };
        match pin!(self.balance.call(Pick)).poll(&mut cx) {
            Poll::Ready(Ok(drawn)) => Some(drawn),
            _ => None,
        }
    }

    /// Applies changes that a [`Roster`] has computed.
    pub(super) fn change(&mut self, changes: Vec<HandleChange<S>>) {
        for change in changes {
            // The receiver is in the balance, so it has not gone.
            let _ = self.feed.send(change);
        }
        // The balance reads its feed only when it is polled. It is polled now, not by the next pick: removed handles
        // are dropped here, while the cluster still has their endpoints, so no service of the user is dropped under the
        // lock.
        self.draw();
    }
}

/// An endpoint that was drawn.
pub(super) struct Drawn<S> {
    pub(super) endpoint: Arc<Endpoint<S>>,
    /// What it was compared by, as of this pick. `None` if there was no other one to compare it with.
    pub(super) cost: Option<Cost>,
}

/// Polls the balance while its log events are discarded.
///
/// tower's balance logs on each pick, at `DEBUG` and `TRACE`. A subscriber is code of the user, and must not run under
/// the lock: it might use the cluster. Where no subscriber wants these levels, that is known without a look at it.
fn unlogged<T>(poll: impl FnOnce() -> T) -> T {
    if LevelFilter::current() < LevelFilter::DEBUG {
        return poll();
    }
    with_default(&Dispatch::none(), poll)
}

/// Knows the handles that the balance has, and computes how they change.
///
/// It is apart from the balance, so that a change computes under a lock that no pick takes.
pub(super) struct Roster<S> {
    measure: Measure,
    /// The endpoints of the latest set, by their address. An entry keeps its endpoint, so no other can have that
    /// address.
    ///
    /// Not by name: an endpoint that gets another weight is another value with the same name, and needs new handles.
    entries: HashMap<usize, RosterEntry<S>>,
    /// The number of the latest endpoint.
    next_id: u64,
    /// The number of the latest set, by which entries that are left over from the one before are recognised.
    sets: u64,
}

/// An endpoint of the balance, and its handles.
struct RosterEntry<S> {
    /// Its number in the [`HandleId`] of each of its handles. Unlike an address, it is never used again.
    id: u64,
    endpoint: Arc<Endpoint<S>>,
    /// How many handles the balance has of it. They are numbered from 0.
    handles: u32,
    /// The latest set that it was in.
    set: u64,
}

impl<S> RosterEntry<S> {
    /// Returns the key of its handle with this number.
    fn handle(&self, nth: u32) -> HandleId {
        HandleId {
            endpoint: self.id,
            nth,
        }
    }
}

impl<S> Roster<S> {
    /// Returns the changes that make the balance have `endpoints`, in steps of [`CHANGES_AT_ONCE`].
    ///
    /// Insertions come before removals, so that the balance is not empty between two steps. The caller must apply all
    /// steps, in order.
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
                let compared = Compared {
                    endpoint: entry.endpoint.clone(),
                    measure: self.measure,
                    cost: Cell::new(None),
                };
                let handle = EndpointHandle(Box::new(compared));
                changes.push(Change::Insert(entry.handle(nth), handle));
            }
            removals.extend((wanted..had).map(|nth| entry.handle(nth)));
        }
        self.entries.retain(|_, entry| {
            let stays = entry.set == self.sets;
            if !stays {
                removals.extend((0..entry.handles).map(|nth| entry.handle(nth)));
            }
            stays
        });
        // `retain` visits the entries in an arbitrary order, and the order of removals decides what later draws give. A
        // seed must make them repeatable.
        removals.sort_unstable();
        changes.extend(removals.into_iter().map(Change::Remove));
        let mut changes = changes.into_iter();
        std::iter::from_fn(move || {
            let some: Vec<_> = changes.by_ref().take(CHANGES_AT_ONCE).collect();
            (!some.is_empty()).then_some(some)
        })
    }
}

/// Returns how many handles an endpoint needs to be drawn at least as often as its weight asks for: its weight divided
/// by the mean weight, rounded, and at least 1.
///
/// `total` is the sum of the weights of all `endpoints`.
///
/// Two draws of `n` handles see each with a chance of `2/n`, twice its share when all weigh the same. So an endpoint of
/// up to the mean weight needs one handle, and the cost does the rest. More handles than needed would do harm: a draw
/// of two handles of the same endpoint is no choice.
pub(super) fn handles(weight: u32, total: u64, endpoints: usize) -> u32 {
    let scaled = u64::from(weight).saturating_mul(endpoints as u64);
    let rounded = scaled.saturating_add(total / 2) / total.max(1);
    u32::try_from(rounded).unwrap_or(u32::MAX).max(1)
}

/// The key of a handle in the balance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HandleId {
    /// The number of its endpoint.
    endpoint: u64,
    /// Its number among the handles of that.
    nth: u32,
}

impl Hash for HandleId {
    /// Writes half a word: the balance hashes keys several times per draw, by SipHash, whose cost grows with each write
    /// and each word. Keys that differ write the same only if a cluster has had 65 536 endpoints, or has as many
    /// handles of one; they are told apart then, too.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.endpoint as u32 ^ self.nth.rotate_left(16));
    }
}

/// One change of the balance's set of handles.
type HandleChange<S> = Change<HandleId, EndpointHandle<S>>;

/// The request type of the balance. It has no content: what is known of the real request plays no part in the draw.
struct Pick;

/// What tower balances. Boxed, since the balance moves the handle that it gives several times.
pub(super) struct EndpointHandle<S>(Box<Compared<S>>);

/// An endpoint, and what the balance compares it by.
struct Compared<S> {
    endpoint: Arc<Endpoint<S>>,
    measure: Measure,
    /// The cost as of the last comparison, until the endpoint is given or compared again.
    cost: Cell<Option<Cost>>,
}

impl<S> Service<Pick> for EndpointHandle<S> {
    type Response = Drawn<S>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, Pick: Pick) -> Self::Future {
        ready(Ok(Drawn {
            endpoint: self.0.endpoint.clone(),
            cost: self.0.cost.take(),
        }))
    }
}

impl<S> Load for EndpointHandle<S> {
    // `Balance` compares metrics by `PartialOrd` and takes the first of two equals. Costs hold the turn, so hardly any
    // two are equal.
    type Metric = Cost;

    fn load(&self) -> Cost {
        let cost = self.0.endpoint.cost(self.0.measure);
        self.0.cost.set(Some(cost));
        cost
    }
}

/// The changes of handles, as the stream from which the balance discovers them.
///
/// It never registers a waker: [`HandleBalance::change`] polls the balance after it has sent.
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

/// The balance's source of random numbers, seeded by the cluster. tower's default, `HasherRng`, is keyed at random by
/// the standard library, so its draws could not be repeated.
struct SeededRng(fastrand::Rng);

impl Rng for SeededRng {
    fn next_u64(&mut self) -> u64 {
        self.0.u64(..)
    }
}
