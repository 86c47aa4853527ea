//! How busy an endpoint is.
//!
//! A request counts from the moment its endpoint is picked until the last byte of its response has left, so that a long
//! download weighs as long as it lasts.

use std::{
    cmp::Ordering,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
};

use tokio::sync::Notify;

/// One step of the turn of an endpoint of weight 1: fine enough for weights up to some thousands, small enough not to
/// overflow in years of a million picks a second.
const STRIDE: u64 = 1 << 16;

/// The counters of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Load {
    in_flight: AtomicUsize,
    /// Position in a stride schedule (Waldspurger and Weihl 1995): each pick moves it on by `STRIDE / weight`.
    /// Written under the policy's lock only.
    turn: AtomicU64,
    idle: Notify,
}

impl Load {
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Acquire)
    }

    pub(super) fn cost(&self, weight: NonZeroU32) -> Cost {
        Cost { in_flight: self.in_flight.load(Relaxed), weight, turn: self.turn.load(Relaxed) }
    }

    /// Counts a request that is about to be sent. `clock` is the policy's own turn, which an endpoint that was idle, or
    /// is new, catches up with, so that it does not get all the next picks.
    pub(super) fn start(self: &Arc<Self>, weight: NonZeroU32, clock: &mut u64) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        // At least one on, so that of equals the one picked longer ago is before the other.
        *clock = self.turn.load(Relaxed).max(*clock + 1);
        self.turn.store(*clock + STRIDE / u64::from(weight.get()), Relaxed);
        InFlight(self.clone())
    }

    /// Waits until nothing is in flight.
    ///
    /// Dropping the future changes nothing.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// One request in flight at an endpoint; it ends when this is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Load>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// What one more request at an endpoint would cost; the least is picked.
///
/// `(in-flight + 1) / weight`, and between equals the one whose turn came longest ago. Endpoints that are both idle are
/// equal whatever their weights: one request at a time then goes round in proportion to the weights, where the formula
/// alone would give the heaviest all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    in_flight: usize,
    weight: NonZeroU32,
    turn: u64,
}

impl Cost {
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        // a/b < c/d as a*d < c*b, exactly.
        let scaled = |a: &Self, b: &Self| (a.in_flight as u128 + 1) * u128::from(b.weight.get());
        let by_load = match (self.in_flight, other.in_flight) {
            (0, 0) => Ordering::Equal,
            _ => scaled(self, other).cmp(&scaled(other, self)),
        };
        by_load.then(self.turn.cmp(&other.turn))
    }
}

impl PartialEq for Cost {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }
}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.compare(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;
    const FIVE: NonZeroU32 = NonZeroU32::new(5).unwrap();

    #[test]
    fn one_at_a_time_goes_round_by_weight() {
        let (heavy, light) = (Arc::new(Load::default()), Arc::new(Load::default()));
        let mut clock = 0;
        let mut picks = [0, 0];
        for _ in 0..60 {
            if light.cost(ONE) < heavy.cost(FIVE) {
                picks[1] += 1;
                drop(light.start(ONE, &mut clock));
            } else {
                picks[0] += 1;
                drop(heavy.start(FIVE, &mut clock));
            }
        }
        assert_eq!(picks, [50, 10]);
    }

    #[test]
    fn load_is_what_is_in_flight_for_the_weight() {
        let (heavy, light) = (Arc::new(Load::default()), Arc::new(Load::default()));
        let mut clock = 0;
        let busy: Vec<_> = (0..4).map(|_| heavy.start(FIVE, &mut clock)).collect();
        assert!(light.cost(ONE) < heavy.cost(FIVE), "5/5 is 1/1, and light's turn came longer ago");
        drop(busy);
        let _one = light.start(ONE, &mut clock);
        assert!(heavy.cost(FIVE) < light.cost(ONE));
    }

    #[test]
    fn a_newcomer_does_not_get_all() {
        let (old, new) = (Arc::new(Load::default()), Arc::new(Load::default()));
        let mut clock = 0;
        for _ in 0..100 {
            drop(old.start(ONE, &mut clock));
        }
        drop(new.start(ONE, &mut clock));
        drop(old.start(ONE, &mut clock));
        assert!(new.cost(ONE) < old.cost(ONE), "in turn again after one pick each");
    }

    #[tokio::test]
    async fn idle_is_told_to_all_who_wait() {
        let load = Arc::new(Load::default());
        let guard = load.start(ONE, &mut 0);
        let both = async { tokio::join!(load.idle(), load.idle()) };
        tokio::join!(both, async move { drop(guard) });
        load.idle().await;
        assert_eq!(load.in_flight(), 0);
    }
}
