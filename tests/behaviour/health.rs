//! Active checks of endpoints.

mod grpc;
mod http;
mod schedule;
mod tcp;

use std::time::Duration;

use axum_upstream::{HealthCheck, LoadBalance, balance::Handle, endpoint::Availability};

use crate::support::eventually;

/// Checks so often that a test need not wait, and shuts at the first failure.
fn often(check: HealthCheck) -> HealthCheck {
    let check = check.interval(Duration::from_millis(1)).unwrap();
    check.unhealthy_after(1).unwrap()
}

/// A cluster of URLs that are checked.
fn checked<U: AsRef<str>>(check: HealthCheck, urls: impl IntoIterator<Item = U>) -> LoadBalance {
    let builder = LoadBalance::builder().seed(1).health_check(check);
    builder.urls(urls).unwrap()
}

/// Whether the first endpoint gets no requests because of its checks.
fn is_shut<S>(handle: &Handle<S>) -> bool {
    let availability = handle.endpoints()[0].availability;
    matches!(
        availability,
        Availability::FailedCheck | Availability::Unchecked
    )
}

/// Waits until the first endpoint is shut.
async fn shut<S: Send + Sync + 'static>(balance: &LoadBalance<S>) {
    let handle = balance.handle();
    eventually(|| is_shut(&handle)).await;
}

/// Waits until the first endpoint is open again.
async fn opened<S: Send + Sync + 'static>(balance: &LoadBalance<S>) {
    let handle = balance.handle();
    eventually(|| !is_shut(&handle)).await;
}
