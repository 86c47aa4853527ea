//! The shared cache, as a service around an origin in the same process, on tokio's paused clock.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary exports nothing, so the lint would have every `pub` be `pub(crate)`.
#![allow(unreachable_pub)]

mod support;

mod cancelling;
mod collapsing;
mod cookies;
mod hits;
mod invalidation;
mod limits;
mod model;
mod poisoning;
mod stale;
mod streaming;
mod validation;
