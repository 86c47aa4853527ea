//! What it takes to send a request once more: a body that can be sent again, and a budget that bounds how often.
//!
//! Nothing here sends. The loop over attempts is the balancer's, because it needs what only the balancer knows: the
//! endpoints that were tried, and which others are available.
//!
//! - [`Replay`] keeps what was sent of a request body, up to a limit, for as long as another attempt is possible.
//! - [`RetryBudget`] says how many retries there may be in relation to requests, and [`RetryLedger`] counts both. One
//!   ledger is shared by all requests of a cluster: in an outage it bounds what retries add to the load of endpoints
//!   that have enough to do.
//!
//! ```
//! use axum_upstream::retry::RetryBudget;
//!
//! // At most one retry for ten requests, and three more in each second.
//! let budget = RetryBudget::new().ratio(0.1)?.per_second(3);
//! # let _ = budget;
//! # Ok::<(), axum_upstream::Error>(())
//! ```

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the ledger is for the loop over attempts")
)]
mod budget;
mod kept;
#[cfg_attr(not(test), expect(dead_code, reason = "for the loop over attempts"))]
mod replay;
mod slot;
mod source;

pub use self::budget::RetryBudget;
#[expect(unused_imports, reason = "for the loop over attempts")]
pub(crate) use self::{budget::RetryLedger, replay::Replay};
