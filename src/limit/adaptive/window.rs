//! Makes one sample of many requests.
//!
//! The latency of one request says little: requests differ. Netflix's limits and Envoy's decide by windows, too.

use std::time::Duration;

/// The fewest requests of a window, as in Envoy's gradient controller (`request_count`).
const FEWEST: usize = 50;

/// The most requests of a window, which bounds the memory that it takes. Their mean is exact enough.
const MOST: usize = 1000;

/// Latencies below this one are taken for it. What varies there is this process and not the endpoint. The default
/// threshold of Netflix's windows (`minRttThreshold`).
const SHORTEST: Duration = Duration::from_micros(100);

/// Latencies above this one are taken for it, so that their sum does not overflow.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The requests since the limit was last decided on.
#[derive(Debug, Default)]
pub(super) struct SampleWindow {
    requests: usize,
    /// Of the requests that were answered. Its memory is used again.
    latencies: Vec<Duration>,
    most_in_flight: usize,
    overloaded: bool,
}

/// What a window comes to.
#[derive(Debug, PartialEq)]
pub(super) struct WindowSample {
    /// The mean latency without the slowest tenth. `None` if no request was answered.
    ///
    /// The mean moves less than a median does where half of the requests are fast; the slowest tenth would move it
    /// most, and has little to do with how busy the endpoint is.
    pub(super) latency: Option<Duration>,
    /// The most requests that were in flight at once.
    pub(super) in_flight: usize,
    /// Whether the endpoint had too many requests at least once.
    ///
    /// All that happens within a round trip is one event, to which the limit is adapted once, as a congestion window
    /// of TCP is (RFC 5681, section 3.2; RFC 6582).
    pub(super) overloaded: bool,
}

/// Returns how many requests make a sample: about as many as end in a round trip.
pub(super) fn size(limit: usize) -> usize {
    limit.clamp(FEWEST, MOST)
}

impl SampleWindow {
    /// Adds a request.
    pub(super) fn record(&mut self, latency: Duration, in_flight: usize, overloaded: bool) {
        self.requests += 1;
        self.most_in_flight = self.most_in_flight.max(in_flight);
        self.overloaded |= overloaded;
        if !overloaded {
            self.latencies.push(latency.clamp(SHORTEST, LONGEST));
        }
    }

    /// Ends the window, and begins another one, if it has `needed` requests, or the most that it can have.
    pub(super) fn end(&mut self, needed: usize) -> Option<WindowSample> {
        if self.requests < needed.min(MOST) {
            return None;
        }
        let sample = WindowSample {
            latency: self.latency(),
            in_flight: self.most_in_flight,
            overloaded: self.overloaded,
        };
        self.latencies.clear();
        (self.requests, self.most_in_flight, self.overloaded) = (0, 0, false);
        Some(sample)
    }

    /// Returns the mean latency without the slowest tenth.
    fn latency(&mut self) -> Option<Duration> {
        let faster = (self.latencies.len() * 9).div_ceil(10);
        self.latencies.select_nth_unstable(faster.checked_sub(1)?);
        let sum: Duration = self.latencies[..faster].iter().sum();
        // No more than `MOST`.
        Some(sum / faster as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_window_has_its_number_of_requests() {
        let mut window = SampleWindow::default();
        for (limit, requests) in [(1, FEWEST), (80, 80), (usize::MAX, MOST)] {
            for _ in 1..requests {
                window.record(ms(1), 1, false);
                assert_eq!(window.end(size(limit)), None);
            }
            window.record(ms(1), 1, false);
            assert!(window.end(size(limit)).is_some());
        }
        window.record(ms(1), 1, false);
        assert!(window.end(1).is_some() && window.latencies.is_empty());
    }

    #[test]
    fn the_slowest_tenth_does_not_count() {
        let mut window = SampleWindow::default();
        for nth in 1..=50 {
            let is_slow = nth % 10 == 7;
            let latency = if is_slow { Duration::MAX } else { ms(nth) };
            window.record(latency, nth as usize, false);
        }
        // All of 1 to 50 but for 7, 17, ... 47.
        let sample = WindowSample {
            latency: Some(ms(1275 - 135) / 45),
            in_flight: 50,
            overloaded: false,
        };
        assert_eq!(window.end(50), Some(sample));
    }

    #[test]
    fn only_answers_have_a_latency() {
        let mut window = SampleWindow::default();
        let sample = |latency| WindowSample {
            latency,
            in_flight: 3,
            overloaded: true,
        };
        for nth in 0..50 {
            window.record(ms(1 + nth), 3, nth != 30);
        }
        assert_eq!(window.end(50), Some(sample(Some(ms(31)))));
        for _ in 0..50 {
            window.record(ms(1), 3, true);
        }
        assert_eq!(window.end(50), Some(sample(None)));
        for _ in 0..50 {
            window.record(Duration::ZERO, 0, false);
        }
        let fresh = WindowSample {
            latency: Some(SHORTEST),
            in_flight: 0,
            overloaded: false,
        };
        assert_eq!(window.end(50), Some(fresh));
    }
}
