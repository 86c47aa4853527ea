//! [`Ejection`]: the settings of passive ejection.

use std::time::Duration;

use crate::error::Error;

/// When an endpoint that fails is ejected from its cluster, and for how long.
///
/// An endpoint is ejected by any of these, observed in the requests that it is given:
///
/// - a number of [consecutive failures](Self::consecutive_failures): no connection, a connection that broke, a deadline
///   that passed, a 502, 503 or 504, or a gRPC UNAVAILABLE;
/// - a [success rate](Self::success_rate) below a limit, where every failure of the endpoint counts, a 500 too, and
///   the other endpoints are not as bad;
/// - a success rate far below that of the others: 1.9 standard deviations and 5 percentage points below the mean, of
///   five endpoints or more with 100 requests each (Envoy's "success rate" outlier detection);
/// - a stall: it answers nothing, also not the requests by which it was tried again, while others answer.
///
/// What the client or this proxy is to blame for is no failure, nor is a 429.
///
/// An ejected endpoint gets no requests for a back-off. Then one request is sent to it, and no other one until that has
/// ended. A success ends the ejection, and the endpoint's share grows to its full size within as long a time as it was
/// away, at most ten seconds. A failure doubles the back-off.
///
/// No more than [half](Self::max_ejected) of a cluster is ejected, endpoints that do not answer at all excepted. If
/// none of a cluster answers, requests fail at once, and each endpoint is tried again every 0.8 seconds.
///
/// ```
/// use axum_upstream::health::Ejection;
///
/// let strict = Ejection::default().consecutive_failures(2)?.success_rate(0.95)?;
/// assert!(Ejection::default().success_rate(95.0).unwrap_err().is_config());
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ejection {
    pub(crate) consecutive: u32,
    pub(super) rate: f32,
    pub(super) min_requests: u32,
    pub(super) base: Duration,
    pub(super) max: Duration,
    pub(super) max_ejected: f32,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive: 5,
            rate: 0.8,
            min_requests: 10,
            base: Duration::from_secs(1),
            max: Duration::from_secs(60),
            max_ejected: 0.5,
        }
    }
}

impl Ejection {
    /// Sets after how many consecutive failures an endpoint is ejected. Default: 5, as in Envoy and Finagle.
    ///
    /// # Errors
    ///
    /// A config error if it is 0.
    pub fn consecutive_failures(mut self, failures: u32) -> Result<Self, Error> {
        if failures == 0 {
            return Err(Error::config(
                "consecutive_failures",
                "it must be 1 or more",
            ));
        }
        self.consecutive = failures;
        Ok(self)
    }

    /// Sets the success rate, as a share from 0 to 1, below which an endpoint is ejected. It is that of the last ten
    /// seconds. Default: 0.8. With 0, the rate does not count.
    ///
    /// # Errors
    ///
    /// A config error if it is not from 0 to 1.
    pub fn success_rate(mut self, share: f32) -> Result<Self, Error> {
        self.rate = checked_share("success_rate", share)?;
        Ok(self)
    }

    /// Sets how many requests must have ended within the last ten seconds for the success rate to count. Default: 10.
    #[must_use]
    pub fn min_requests(mut self, requests: u32) -> Self {
        self.min_requests = requests;
        self
    }

    /// Sets for how long an endpoint is ejected: for `base` at first, then twice as long each time, up to `max`.
    /// Default: 1 s to 60 s. Up to a fifth is added at random, so that many proxies do not come back at once.
    ///
    /// An endpoint that has worked for as long as it was away, and for ten seconds at least, begins with `base` again.
    ///
    /// # Errors
    ///
    /// A config error if `base` is 0 or longer than `max`.
    pub fn backoff(mut self, base: Duration, max: Duration) -> Result<Self, Error> {
        if base.is_zero() || base > max {
            let why = format!("{base:?} to {max:?} is no range of times");
            return Err(Error::config("backoff", why));
        }
        (self.base, self.max) = (base, max);
        Ok(self)
    }

    /// Sets which share of a cluster may be ejected, from 0 to 1. Default: 0.5. Of two endpoints or more, one may be in
    /// any case; a lone one is not, as long as it answers.
    ///
    /// Endpoints that do not answer at all may be ejected beyond that: sending requests to them spares the others
    /// nothing.
    ///
    /// # Errors
    ///
    /// A config error if it is not from 0 to 1.
    pub fn max_ejected(mut self, share: f32) -> Result<Self, Error> {
        self.max_ejected = checked_share("max_ejected", share)?;
        Ok(self)
    }

    /// Returns how many of `members` may be ejected although they answer.
    pub(crate) fn most(&self, members: usize) -> usize {
        let most = (members as f64 * f64::from(self.max_ejected)) as usize;
        // The last one that answers stays, whatever the setting.
        most.max(1).min(members.saturating_sub(1))
    }
}

/// Returns a share from 0 to 1 as it is.
fn checked_share(setting: &'static str, share: f32) -> Result<f32, Error> {
    match (0.0..=1.0).contains(&share) {
        true => Ok(share),
        false => Err(Error::config(
            setting,
            format!("{share} is not from 0 to 1"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_may_be_ejected_and_never_the_last() {
        let most = |members| Ejection::default().most(members);
        assert_eq!([0, 1, 2, 3, 4, 5, 10].map(most), [0, 0, 1, 1, 2, 2, 5]);
        let all = Ejection::default().max_ejected(1.0).unwrap();
        assert_eq!([1, 2, 10].map(|members| all.most(members)), [0, 1, 9]);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let ejection = Ejection::default();
        assert!(ejection.consecutive_failures(0).is_err());
        assert!(ejection.success_rate(f32::NAN).is_err());
        assert!(ejection.max_ejected(1.5).is_err());
        assert!(ejection.backoff(Duration::ZERO, minute).is_err());
        assert!(ejection.backoff(minute, second).is_err());
        assert!(ejection.backoff(second, Duration::MAX).is_ok());
    }
}
