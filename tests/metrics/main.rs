//! The metrics, as an exporter for Prometheus gives them out.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary exports nothing, so the lint would have every `pub` of `support` be `pub(crate)`.
#![allow(unreachable_pub)]

/// Makes a test of each, with a recorder of its own.
macro_rules! as_tests {
    ($($name:ident)*) => { mod alone { $(
        #[tokio::test]
        async fn $name() {
            crate::services::within(super::$name(&crate::scrape::Metrics::new())).await;
        }
    )* } };
}

mod attempts;
mod documents;
mod endpoints;
mod scrape;
mod services;
#[cfg(feature = "status")]
mod totals;

use self::scrape::Metrics;

/// Everything that there is to be counted, at least once.
async fn everything(metrics: &Metrics) {
    attempts::retried_and_cancelled(metrics).await;
    attempts::refused(metrics).await;
    attempts::hedged(metrics).await;
    attempts::out_of_budget(metrics).await;
    endpoints::ejected_and_admitted(metrics).await;
    endpoints::queued(metrics).await;
    endpoints::discovered(metrics).await;
    endpoints::connected(metrics).await;
}
