//! Limits on how much of something is in use at once, and the order in which requests wait for it.
//!
//! [`Permits`] is a semaphore for the connections of one endpoint's pool (`max_connections`). It differs from tokio's
//! `Semaphore` in what ends a wait: a request waits for a permit *or* for an open connection that becomes idle,
//! whichever comes first, and may have an idle connection closed to free a permit.
//!
//! [`Queue`] is where requests wait while all endpoints of a cluster are full: bounded, and fair among the keys of the
//! requests. It is no semaphore, because the room is not one number: each endpoint has a limit of its own.
//!
//! `AdaptiveLimit` is such a limit, which follows what the endpoint can take (feature `adaptive-limit`).

#[cfg(feature = "adaptive-limit")]
mod adaptive;
#[cfg(test)]
mod interleavings;
mod lanes;
mod permits;
mod queue;
#[cfg(test)]
mod queue_interleavings;

#[cfg(feature = "adaptive-limit")]
pub use self::adaptive::AdaptiveConcurrency;
#[cfg(feature = "adaptive-limit")]
pub(crate) use self::adaptive::AdaptiveLimit;
#[cfg(feature = "http2")]
pub(crate) use self::permits::PermitQueue;
pub(crate) use self::{
    permits::{Found, Permit, Permits},
    queue::{Notice, Queue},
};
