//! Deadlines computed from durations that a user of the crate sets, and the timers that wait for them.
//!
//! Users write `Duration::MAX` for "no limit". Adding it to an `Instant` panics, so every deadline in the crate is
//! computed by [`after`], and every duration that is passed on to a timer of another library goes through [`finite`].
//!
//! All times are of tokio's clock, so that tests can pause and advance it.

use std::time::Duration;

use tokio::time::Instant;

mod timer;
mod timer_lists;
mod timer_queue;
#[cfg(test)]
mod timer_queue_tests;
#[cfg(test)]
mod timer_runtime_tests;

pub(crate) use timer::Timer;

/// A point in time, as the microseconds since its cluster was made: unlike an `Instant`, this fits an atomic.
pub(crate) type Micros = u64;

/// Stands for "never": longer than any exchange lasts, and short enough to be added to any `Instant` without an
/// overflow.
///
/// It is tokio's own choice for its far future: 100 years overflow on FreeBSD, 1000 on macOS.
const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Returns the time `wait` after `since`, and about 30 years after it if `wait` is longer than that. Does not overflow.
pub(crate) fn after(since: Instant, wait: Duration) -> Instant {
    since + wait.min(THIRTY_YEARS)
}

/// Returns the sooner of two deadlines, of which either may be "none".
pub(crate) fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Returns `wait`, or `None` if it means "never", so that the timer need not run at all.
///
/// For timers of other libraries, which add the duration to the current time and would overflow.
#[cfg(feature = "http2")]
pub(crate) fn finite(wait: Duration) -> Option<Duration> {
    (wait < THIRTY_YEARS).then_some(wait)
}
