//! The settings of an adaptive limit.

use std::{ops::RangeInclusive, time::Duration};

use crate::Error;

/// Settings of a limit of the requests in flight at each endpoint, which follows what the endpoint can take.
///
/// Requests beyond it go to other endpoints. The limit of an endpoint begins at [`initial`](Self::initial), moves
/// about once in a round trip, and stays within [`limits`](Self::limits). It grows only while it is used: while at
/// least half of the requests that it allows are in flight.
///
/// There are two ways to tell that an endpoint has too many:
///
/// - [`gradient`](Self::gradient), the default: requests take longer than they would if there were fewer.
/// - [`aimd`](Self::aimd): requests take longer than a given time.
///
/// With both, an endpoint also has too many if it says so, by a 429 or 503, or does not answer in time.
///
/// ```
/// use axum_upstream::AdaptiveConcurrency;
///
/// # fn main() -> Result<(), axum_upstream::Error> {
/// let limits = AdaptiveConcurrency::gradient().initial(50)?.limits(5..=500)?;
/// assert!(limits.clone().limits(0..=10).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AdaptiveConcurrency {
    initial: usize,
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) signal: Signal,
}

/// What says that an endpoint has too many requests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal {
    /// A latency above what it is with fewer requests.
    Gradient,
    /// A latency above this one.
    Slower(Duration),
}

impl AdaptiveConcurrency {
    /// Returns settings by which the limit follows how latency changes with the number of requests.
    ///
    /// For an endpoint that works on `n` requests at once, the limit settles at about `1.25 n + √n`, so that few
    /// requests wait there for others. To know how long they take when none waits, the limit is lowered to a quarter
    /// for about two round trips in a hundred. This costs about 3 % of the throughput of an endpoint that is at its
    /// limit, and nothing while it is not.
    ///
    /// The latency is the mean of at least 50 requests without the slowest tenth of them, so a few long polls do no
    /// harm. Where more than a tenth of the requests take long for their own reasons, [`aimd`](Self::aimd) is better.
    ///
    /// The algorithm is `Gradient2` of Netflix's concurrency-limits with the parameters and the measuring phases of
    /// Envoy's gradient controller (adaptive concurrency filter): `limit × gradient + √limit`, where the gradient is
    /// 1.25 × the latency without waiting / the latency now, from 0.5 to 1.
    #[must_use]
    pub fn gradient() -> Self {
        Self {
            initial: 20,
            min: 1,
            max: 1000,
            signal: Signal::Gradient,
        }
    }

    /// Returns settings by which the limit grows by one as long as requests take no longer than `longest`, and
    /// shrinks by a tenth when they do.
    ///
    /// The latency is that of [`gradient`](Self::gradient), and the limit moves once in as many requests as it
    /// allows, 50 at least. With `Duration::MAX`, only what an endpoint says itself shrinks it.
    ///
    /// The algorithm is additive increase, multiplicative decrease, as in TCP (RFC 5681) and in Netflix's
    /// concurrency-limits.
    ///
    /// # Errors
    ///
    /// Returns an error if `longest` is zero.
    pub fn aimd(longest: Duration) -> Result<Self, Error> {
        if longest.is_zero() {
            return Err(Error::config("aimd", "every latency is longer than 0"));
        }
        Ok(Self {
            signal: Signal::Slower(longest),
            ..Self::gradient()
        })
    }

    /// Sets the limit of a new endpoint: 20 by default, brought into the range of [`limits`](Self::limits).
    ///
    /// # Errors
    ///
    /// Returns an error if it is 0.
    pub fn initial(mut self, initial: usize) -> Result<Self, Error> {
        if initial == 0 {
            return Err(Error::config("initial", "it must be 1 or more"));
        }
        self.initial = initial;
        Ok(self)
    }

    /// Sets the lowest and the highest limit: 1 and 1000 by default.
    ///
    /// # Errors
    ///
    /// Returns an error if the lowest limit is 0 or above the highest.
    pub fn limits(mut self, limits: RangeInclusive<usize>) -> Result<Self, Error> {
        let (min, max) = limits.into_inner();
        if min == 0 {
            return Err(Error::config("limits", "the lowest must be 1 or more"));
        }
        if min > max {
            let why = format!("the lowest, {min}, is above the highest, {max}");
            return Err(Error::config("limits", why));
        }
        (self.min, self.max) = (min, max);
        Ok(self)
    }

    /// Returns the limit of a new endpoint.
    pub(super) fn first(&self) -> usize {
        self.initial.clamp(self.min, self.max)
    }
}

impl Default for AdaptiveConcurrency {
    /// Returns [`AdaptiveConcurrency::gradient`].
    fn default() -> Self {
        Self::gradient()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let refused = |made: Result<AdaptiveConcurrency, Error>, setting: &str, why: &str| {
            let error = made.unwrap_err();
            assert!(error.is_config());
            let text = error.to_string();
            assert!(text.contains(setting) && text.contains(why), "{text}");
        };
        let any = AdaptiveConcurrency::default;
        refused(any().initial(0), "initial", "1 or more");
        refused(any().limits(0..=5), "limits", "1 or more");
        let reversed = RangeInclusive::new(6, 5);
        refused(any().limits(reversed), "limits", "the lowest, 6");
        refused(AdaptiveConcurrency::aimd(Duration::ZERO), "aimd", "0");
    }

    #[test]
    fn the_first_limit_is_within_the_range() {
        let first = |initial, limits| {
            let settings = AdaptiveConcurrency::gradient().initial(initial).unwrap();
            settings.limits(limits).unwrap().first()
        };
        assert_eq!(AdaptiveConcurrency::default().first(), 20);
        assert_eq!(first(3, 5..=9), 5);
        assert_eq!(first(7, 5..=9), 7);
        assert_eq!(first(usize::MAX, 5..=9), 9);
        assert_eq!(first(usize::MAX, 5..=usize::MAX), usize::MAX);
    }
}
