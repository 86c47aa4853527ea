//! Points in time that settings ask for.

use std::time::Duration;

use tokio::time::Instant;

/// Longer than anything lasts, and short enough to be added to any time.
const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// `since + wait`, or a time nobody will see: `Duration::MAX` is what users write for "no limit".
pub(crate) fn after(since: Instant, wait: Duration) -> Instant {
    since + wait.min(THIRTY_YEARS)
}

/// For timers of others, which add without looking; `None` is for those that need not run.
#[cfg(feature = "http2")]
pub(crate) fn finite(wait: Duration) -> Option<Duration> {
    (wait < THIRTY_YEARS).then_some(wait)
}
