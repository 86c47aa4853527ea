//! How long a discovery that has failed is left alone.

use std::time::Duration;

use tokio::time::Instant;

/// The longest pause after the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause of all.
const LONGEST: Duration = Duration::from_secs(30);

/// The pauses after the failures of one discovery.
///
/// Each is up to twice as long as the one before. Between a half and the whole of it is drawn at random, so that many
/// processes that lost their source at the same moment do not all return to it at the same moment.
#[derive(Debug, Default)]
pub(super) struct DiscoveryBackoff {
    /// The bound of the last pause. `None` after a success.
    bound: Option<Duration>,
    /// When the last pause ended.
    ended: Option<Instant>,
}

impl DiscoveryBackoff {
    /// Starts over: the discovery has reported.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Returns how long to wait after a failure now. `random` is from 0 to 1.
    ///
    /// A failure that comes long after the last pause starts over, too. A file that is saved with a mistake once an
    /// hour is no source that is down, and its correction must not wait for half a minute.
    pub(super) fn failed(&mut self, now: Instant, random: f64) -> Duration {
        let quiet = self.ended.map(|ended| now.saturating_duration_since(ended));
        let before = self
            .bound
            .filter(|bound| quiet.is_some_and(|quiet| quiet <= *bound));
        let bound = before.map_or(FIRST, |bound| (bound * 2).min(LONGEST));
        let pause = bound.mul_f64(0.5 + random / 2.0);
        self.bound = Some(bound);
        self.ended = Some(now + pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the pauses of failures, each `after` the end of the pause before.
    fn pauses(backoff: &mut DiscoveryBackoff, failures: usize, after: Duration) -> Vec<f64> {
        let mut now = Instant::now();
        let mut pause = || {
            let pause = backoff.failed(now, 1.0);
            now += pause + after;
            pause.as_secs_f64()
        };
        (0..failures).map(|_| pause()).collect()
    }

    #[tokio::test]
    async fn pauses_grow_up_to_a_bound() {
        let mut backoff = DiscoveryBackoff::default();
        let at_once = Duration::ZERO;
        let grown = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0];
        assert_eq!(pauses(&mut backoff, 7, at_once), grown);
        backoff.succeeded();
        assert_eq!(pauses(&mut backoff, 2, at_once), [1.0, 2.0]);
    }

    #[tokio::test]
    async fn a_pause_is_drawn_from_the_upper_half() {
        let now = Instant::now();
        let drawn = |random| DiscoveryBackoff::default().failed(now, random);
        let expected = [500, 750, 1000].map(Duration::from_millis);
        assert_eq!([0.0, 0.5, 1.0].map(drawn), expected);
    }

    #[tokio::test]
    async fn a_failure_long_after_the_last_one_starts_over() {
        let mut backoff = DiscoveryBackoff::default();
        let rare = Duration::from_secs(31);
        assert_eq!(pauses(&mut backoff, 3, rare), [1.0, 1.0, 1.0]);
    }
}
