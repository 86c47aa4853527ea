//! The time of a run, in milliseconds since its beginning.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A day.
pub const DAY: u64 = 24 * 60 * 60 * 1000;

/// Counts from when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }

    /// Returns the time of day.
    pub fn of_day(&self) -> SystemTime {
        time_of_day(self.now())
    }
}

/// Returns the time of day at so many milliseconds.
pub fn time_of_day(at: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_millis(at)
}
