//! Limits on how many connections are open at once.
//!
//! [`Permits`] is a semaphore for the connections of one endpoint's pool (`max_connections`). It differs from tokio's
//! `Semaphore` in what ends a wait: a request waits for a permit *or* for an open connection that becomes idle,
//! whichever comes first, and may have an idle connection closed to free a permit.
//!
//! A limit on requests, rather than connections, is not here; tower's `ConcurrencyLimit` serves for that.

#[cfg(test)]
mod interleavings;
mod permits;

#[cfg(feature = "http2")]
pub(crate) use self::permits::PermitQueue;
pub(crate) use self::permits::{Found, Permit, Permits};
