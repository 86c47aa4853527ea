//! Limits the rate of requests of one address, by the crate governor.
//!
//! governor says what is too fast (GCRA, a bucket that leaks); what is here remembers the addresses, and no more than a
//! fixed number of them.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter, clock::Clock, middleware::NoOpMiddleware, nanos::Nanos, state::StateStore,
};
use tokio::time::Instant;

use super::address::AddressKey;

/// The largest number of addresses that are remembered. They take some 6 MiB.
const MOST_ADDRESSES: usize = 1 << 16;

/// How often the addresses are looked through at most, while there are too many of them.
const SWEEP: Duration = Duration::from_secs(1);

/// How many requests an address may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateConfig {
    /// In a second, on average.
    pub(crate) per_second: NonZeroU32,
    /// At once, after a pause. Default: as many as in a second.
    #[serde(default)]
    pub(crate) burst: Option<NonZeroU32>,
}

impl RateConfig {
    /// Returns a rate. Without a burst, it is as large as that.
    pub(crate) fn new(per_second: NonZeroU32, burst: Option<NonZeroU32>) -> Self {
        Self { per_second, burst }
    }

    /// Returns how many may be sent at once.
    pub(crate) fn burst(self) -> NonZeroU32 {
        self.burst.unwrap_or(self.per_second)
    }
}

/// Limits the rate of requests of each address.
pub(crate) struct RequestRate {
    limiter: RateLimiter<AddressKey, RecentAddresses, ProcessClock, NoOpMiddleware<Duration>>,
}

impl RequestRate {
    /// Returns a limit.
    pub(crate) fn new(config: RateConfig) -> Self {
        Self::with_most(config, MOST_ADDRESSES)
    }

    /// Returns a limit that remembers this many addresses.
    fn with_most(config: RateConfig, most: usize) -> Self {
        let clock = ProcessClock {
            start: Instant::now(),
        };
        let addresses = RecentAddresses {
            most,
            clock,
            known: Mutex::default(),
            is_full: AtomicBool::new(false),
        };
        let quota = Quota::per_second(config.per_second).allow_burst(config.burst());
        Self {
            limiter: RateLimiter::new(quota, addresses, clock),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    ///
    /// Returns how long the address has to wait, if the request is too soon.
    pub(crate) fn check(&self, key: AddressKey) -> Result<(), Duration> {
        let too_soon = |until: governor::NotUntil<Duration>| {
            let now = self.limiter.clock().now();
            until.wait_time_from(now)
        };
        self.limiter.check_key(&key).map_err(too_soon)
    }
}

/// Tells the time since a start. tokio's clock, which tests can stop.
#[derive(Debug, Clone, Copy)]
struct ProcessClock {
    start: Instant,
}

impl Clock for ProcessClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The addresses that have sent requests lately, each with the time until which it has used what it may send.
struct RecentAddresses {
    most: usize,
    clock: ProcessClock,
    known: Mutex<KnownAddresses>,
    /// Whether it has been logged that there are too many.
    is_full: AtomicBool,
}

#[derive(Default)]
struct KnownAddresses {
    until: HashMap<AddressKey, Nanos>,
    /// When they were looked through last.
    swept: Option<Duration>,
}

impl KnownAddresses {
    /// Makes room for another address, by forgetting those that have not used anything. Returns whether there is room.
    fn make_room(&mut self, most: usize, now: Duration) -> bool {
        if self.until.len() < most {
            return true;
        }
        if self.swept.is_none_or(|swept| now >= swept + SWEEP) {
            self.swept = Some(now);
            self.until.retain(|_, until| *until > Nanos::from(now));
        }
        self.until.len() < most
    }
}

impl StateStore for RecentAddresses {
    type Key = AddressKey;

    /// Reads and replaces what is known of an address. While there are too many addresses, those that are not known are
    /// let through, and not remembered: so many are not held by a limit for each, and a client among them is not to
    /// blame.
    fn measure_and_replace<T, F, E>(&self, key: &AddressKey, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let is_full = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(until) = known.until.get_mut(key) {
                let (outcome, next) = f(Some(*until))?;
                *until = next;
                return Ok(outcome);
            }
            let (outcome, next) = f(None)?;
            if known.make_room(self.most, self.clock.now()) {
                known.until.insert(*key, next);
                self.is_full.store(false, Relaxed);
                return Ok(outcome);
            }
            (outcome, self.is_full.swap(true, Relaxed))
        };
        if !is_full.1 {
            let most = self.most;
            tracing::warn!(
                "requests of more than {most} addresses; the rate of others is not limited"
            );
        }
        Ok(is_full.0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(n: u8) -> AddressKey {
        AddressKey::new([192, 0, 2, n].into())
    }

    fn rate(per_second: u32, burst: u32, most: usize) -> RequestRate {
        let per_second = NonZeroU32::new(per_second).unwrap();
        let config = RateConfig::new(per_second, NonZeroU32::new(burst));
        RequestRate::with_most(config, most)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_its_burst_and_then_its_rate() {
        let rate = rate(2, 3, 10);
        for _ in 0..3 {
            assert_eq!(rate.check(key(1)), Ok(()));
        }
        assert_eq!(rate.check(key(1)), Err(SECOND / 2));
        assert_eq!(rate.check(key(2)), Ok(()), "another one");
        advance(SECOND / 2).await;
        assert_eq!(rate.check(key(1)), Ok(()));
        assert_eq!(rate.check(key(1)), Err(SECOND / 2));
        advance(SECOND * 10).await;
        for _ in 0..3 {
            assert_eq!(rate.check(key(1)), Ok(()));
        }
        assert!(rate.check(key(1)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_those_that_are_known_stay_limited() {
        let rate = rate(1, 1, 2);
        assert_eq!(rate.check(key(1)), Ok(()));
        assert_eq!(rate.check(key(2)), Ok(()));
        for _ in 0..3 {
            assert_eq!(rate.check(key(3)), Ok(()), "there is no room to count it");
        }
        assert!(rate.check(key(1)).is_err());
        advance(SECOND * 2).await;
        assert_eq!(rate.check(key(3)), Ok(()));
        assert!(rate.check(key(3)).is_err(), "now there is");
    }
}
