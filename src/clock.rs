//! Points in time that settings ask for.

use std::time::Duration;

use tokio::time::Instant;

/// `since + wait`, or a time nobody will see: `Duration::MAX` is what users write for "no limit".
pub(crate) fn after(since: Instant, wait: Duration) -> Instant {
    const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    since + wait.min(THIRTY_YEARS)
}
