//! The retry budget: how many retries there may be in relation to requests.
//!
//! Retries help while few requests fail. When all do, they multiply the load of endpoints that have failed under it. So
//! retries are counted against requests, as in Finagle, linkerd and Envoy: within one second, no more than a share of
//! the requests, and a few more, so that a cluster with little traffic has any.
//!
//! Nothing is saved up: requests of more than a second ago allow no retries, and the few per second that were not used
//! are gone. Budgets that keep a reserve, such as ten seconds of it, spend it at once when an outage begins.
//!
//! Why it is not [`TpsBudget`](https://docs.rs/tower/0.5/tower/retry/budget/struct.TpsBudget.html) of tower, whose
//! `deposit` and `withdraw` it has. That one has a lifetime of a second and no reserve beyond it, too, but does not
//! bound what it says:
//!
//! - Its ten slots of time pass two at a time, unless a call comes exactly at the end of one. Retries are therefore
//!   forgotten after half a second, and up to twice the number per second is granted.
//! - The share is rounded up to one over a whole number: 0.4 to 0.5, and everything between 0.5 and 1 to 1.
//! - The first call after a long idleness goes through every tenth of a second of it, under a lock.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use crate::{clock::Micros, error::Error};

/// How many retries a cluster may make: a share of its requests, and a number per second.
///
/// The default is a share of 0.2 and 10 per second. Both count over the last second: within any second there are at
/// most 10 retries, and one more for every five requests that arrived in it.
///
/// With `0` for both, there are no retries.
///
/// ```
/// use axum_upstream::retry::RetryBudget;
///
/// // Only as a share of the requests: a cluster with less than two requests in a second retries none.
/// let budget = RetryBudget::new().ratio(0.5)?.per_second(0);
/// # let _ = budget;
/// assert!(RetryBudget::new().ratio(f64::NAN).is_err());
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "it has no effect until it is given to a cluster"]
pub struct RetryBudget {
    ratio: f64,
    per_second: u32,
}

impl RetryBudget {
    /// Returns the default budget: a share of 0.2, and 10 per second.
    ///
    /// These are the defaults of Finagle and of tower.
    pub fn new() -> Self {
        Self {
            ratio: 0.2,
            per_second: 10,
        }
    }

    /// Sets the number of retries per request, from 0 to 10: with 0.2 there is one retry for five requests, with 2
    /// there are two for each. By default 0.2.
    ///
    /// Only the requests of the last second count.
    ///
    /// # Errors
    ///
    /// A config error if the number is negative, greater than 10 or not a number.
    pub fn ratio(mut self, ratio: f64) -> Result<Self, Error> {
        if !(0.0..=10.0).contains(&ratio) {
            let why = format!("{ratio} is not between 0 and 10");
            return Err(Error::config("ratio of the retry budget", why));
        }
        self.ratio = ratio;
        Ok(self)
    }

    /// Sets the number of retries that there may be within a second beside those that requests allow. By default 10.
    ///
    /// Any number works. It is what a cluster with a request now and then lives on. What is not used is not saved up.
    pub fn per_second(mut self, retries: u32) -> Self {
        self.per_second = retries;
        self
    }
}

impl RetryBudget {
    /// Returns whether it allows no retry at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.ratio == 0.0 && self.per_second == 0
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts the requests and the retries of a cluster, and says whether there may be another retry.
///
/// It is to be told of each request by [`deposit`](Self::deposit), and asked before each retry by
/// [`withdraw`](Self::withdraw). Neither locks, waits or allocates.
///
/// Requests count for the last 0.95 to 1 s, retries for the last 1 to 1.05 s, depending on where in a slot of time the
/// call comes. So the budget is never exceeded within a second, and up to a tenth of the share may be left unused.
#[derive(Debug)]
pub(crate) struct RetryLedger {
    budget: RetryBudget,
    requests: RecentCount,
    retries: RecentCount,
}

impl RetryLedger {
    /// Returns the ledger of a cluster that has not had a request.
    pub(crate) fn new(budget: RetryBudget) -> Self {
        Self {
            budget,
            requests: RecentCount::default(),
            retries: RecentCount::default(),
        }
    }

    /// Counts a request of a client at `now`. Retries of it are not to be counted here.
    pub(crate) fn deposit(&self, now: Micros) {
        self.requests.add(slot(now));
    }

    /// Returns whether there may be a retry at `now`, and counts it if so.
    pub(crate) fn withdraw(&self, now: Micros) -> bool {
        self.withdraw_at(slot(now))
    }

    /// Returns how many retries there may be at `now`.
    pub(crate) fn left(&self, now: Micros) -> f64 {
        let now = slot(now);
        let retries = self.retries.sum(now, SLOTS_PER_SECOND + 1) as f64;
        (self.allowed(now) - retries).max(0.0)
    }

    /// Returns how many retries the requests of the last second allow.
    fn allowed(&self, now: u32) -> f64 {
        let requests = self.requests.sum(now, SLOTS_PER_SECOND) as f64;
        f64::from(self.budget.per_second) + self.budget.ratio * requests
    }

    /// [`withdraw`](Self::withdraw) in a slot of time.
    fn withdraw_at(&self, now: u32) -> bool {
        let allowed = self.allowed(now);
        let retries = || self.retries.sum(now, SLOTS_PER_SECOND + 1) as f64;
        // In an outage most calls end here, without a write that other threads would wait for.
        if retries() + 1.0 > allowed {
            return false;
        }
        // Counted first, and looked at then: of several threads that take the last one at the same time, the later
        // sees the retry of the earlier. Both may see that of the other, and none gets it.
        self.retries.add(now);
        let granted = retries() <= allowed;
        if !granted {
            self.retries.take_back(now);
        }
        granted
    }
}

/// Returns the slot of a time. It wraps around after six years, when the slots of six years ago would seem to be of
/// now.
fn slot(now: Micros) -> u32 {
    (now / SLOT) as u32
}

/// The length of a slot of time.
const SLOT: Micros = 50_000;

/// The number of slots in a second.
const SLOTS_PER_SECOND: u32 = 20;

/// How often something has happened in each slot of the last second.
///
/// A ring: each place has a slot of time in its upper half, and the number of events in that in its lower half. A place
/// is given to the new slot by the first event in it, and places whose slot is too old are not counted. So nothing has
/// to be done as time passes.
#[derive(Debug, Default)]
struct RecentCount {
    /// One more than there are slots in a second, for the one in progress.
    places: [AtomicU64; SLOTS_PER_SECOND as usize + 1],
}

impl RecentCount {
    /// Counts an event in the slot that it is now.
    fn add(&self, now: u32) {
        let count = |place: u64| match slot_of(place) == now {
            true => Some(place.saturating_add(1)),
            false => Some(u64::from(now) << 32 | 1),
        };
        let _ = self.place(now).fetch_update(SeqCst, Relaxed, count);
    }

    /// Takes an event back that was counted in a slot, unless the place has been given to a later slot.
    fn take_back(&self, slot: u32) {
        let count = |place: u64| {
            (slot_of(place) == slot && place as u32 > 0).then(|| place.wrapping_sub(1))
        };
        let _ = self.place(slot).fetch_update(SeqCst, Relaxed, count);
    }

    /// Returns the number of events in the latest `slots` slots, of which the last is that of now.
    fn sum(&self, now: u32, slots: u32) -> u64 {
        let places = self.places.iter().map(|place| place.load(SeqCst));
        places
            .filter(|place| now.wrapping_sub(slot_of(*place)) < slots)
            .map(|place| place & u64::from(u32::MAX))
            .sum()
    }

    /// Returns the place of a slot.
    fn place(&self, slot: u32) -> &AtomicU64 {
        let places = self.places.len() as u32;
        &self.places[(slot % places) as usize]
    }
}

/// Returns the slot of time that the number in a place belongs to.
fn slot_of(place: u64) -> u32 {
    (place >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// A ledger with the clock of a test.
    struct TimedLedger {
        ledger: RetryLedger,
        start: Instant,
    }

    impl TimedLedger {
        fn new(budget: RetryBudget) -> Self {
            Self {
                ledger: RetryLedger::new(budget),
                start: Instant::now(),
            }
        }

        fn now(&self) -> Micros {
            self.start.elapsed().as_micros() as Micros
        }

        fn deposit(&self) {
            self.ledger.deposit(self.now());
        }

        fn withdraw(&self) -> bool {
            self.ledger.withdraw(self.now())
        }
    }

    fn ledger(ratio: f64, per_second: u32) -> TimedLedger {
        let budget = RetryBudget::new().ratio(ratio).unwrap();
        TimedLedger::new(budget.per_second(per_second))
    }

    /// Counts how many retries are granted at once, of many that are asked for.
    fn granted(ledger: &TimedLedger) -> usize {
        (0..1000).filter(|_| ledger.withdraw()).count()
    }

    /// Sends requests that all fail, one every `interval` for ten seconds, and asks for three retries of each. Returns
    /// when each retry was granted, in milliseconds.
    async fn outage(ledger: &TimedLedger, interval: Duration) -> Vec<u128> {
        let (start, mut retries) = (Instant::now(), Vec::new());
        while start.elapsed() < Duration::from_secs(10) {
            ledger.deposit();
            for _ in 0..3 {
                if ledger.withdraw() {
                    retries.push(start.elapsed().as_millis());
                }
            }
            advance(interval).await;
        }
        retries
    }

    /// Returns the most retries within a second that begins at one of them.
    fn most_in_a_second(retries: &[u128]) -> usize {
        let within = |from: u128| move |at: &&u128| (from..from + 1000).contains(*at);
        let counts = retries
            .iter()
            .map(|from| retries.iter().filter(within(*from)).count());
        counts.max().unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_retries_stay_a_share_of_the_requests() {
        let ledger = ledger(0.2, 10);
        let retries = outage(&ledger, MILLI).await;
        assert!(most_in_a_second(&retries) <= 210);
        // Nine tenths of the share, and all of the number per second.
        assert!(retries.len() >= 1900, "{}", retries.len());
    }

    /// At most of these intervals, tower's budget grants more.
    #[tokio::test(start_paused = true)]
    async fn the_share_is_kept_at_any_rate() {
        for interval in [3, 7, 51, 101, 150, 333] {
            let ledger = ledger(0.2, 10);
            let retries = outage(&ledger, MILLI * interval).await;
            let requests = 1000_usize.div_ceil(interval as usize);
            let allowed = 10 + requests.div_ceil(5);
            let most = most_in_a_second(&retries);
            assert!(most <= allowed, "{most} at {interval} ms");
            assert!(most >= 10.min(3 * requests), "{most} at {interval} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_saved_up() {
        let ledger = ledger(0.2, 10);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(granted(&ledger), 10);
        for _ in 0..100 {
            ledger.deposit();
        }
        assert_eq!(granted(&ledger), 20);
        advance(Duration::from_secs(1)).await;
        // The retries still count, and the requests do not.
        assert_eq!(granted(&ledger), 0);
        advance(50 * MILLI).await;
        assert_eq!(granted(&ledger), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_request_may_be_retried() {
        let ledger = TimedLedger::new(RetryBudget::new());
        for _ in 0..10 {
            ledger.deposit();
            assert!(ledger.withdraw());
            advance(Duration::from_secs(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn zero_and_zero_is_never() {
        let ledger = ledger(0.0, 0);
        assert!(outage(&ledger, MILLI).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn each_ratio_is_as_it_says() {
        for (ratio, allowed) in [(0.01, 1), (0.4, 40), (0.75, 75), (1.0, 100), (2.5, 250)] {
            let ledger = ledger(ratio, 0);
            for _ in 0..100 {
                ledger.deposit();
            }
            assert_eq!(granted(&ledger), allowed, "{ratio}");
        }
    }

    /// Time stands still, so that the count is exact.
    #[tokio::test(start_paused = true)]
    async fn threads_together_never_exceed_it() {
        let ledger = ledger(0.0, 100);
        let now = slot(ledger.now());
        let granted: usize = std::thread::scope(|scope| {
            let ask = || (0..1000).filter(|_| ledger.ledger.withdraw_at(now)).count();
            let threads = [(); 4].map(|()| scope.spawn(ask));
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert!(granted <= 100, "{granted}");
        assert_eq!(granted as u64, ledger.ledger.retries.sum(now, 1));
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for ratio in [-0.1, 10.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = RetryBudget::new().ratio(ratio).unwrap_err();
            assert!(error.to_string().contains("retry budget"), "{error}");
        }
    }
}
