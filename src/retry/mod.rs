//! Which requests are sent again, when, and how often.
//!
//! [`Retry`] says which failed attempts are repeated, [`Hedge`] when a second endpoint is asked beside the first, and
//! [`RetryBudget`] how many attempts of both kinds there may be in relation to requests.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum_upstream::{LoadBalance, retry::{Hedge, Retry, RetryBudget}};
//!
//! let retry = Retry::default()
//!     .attempts(3)?
//!     .per_try_timeout(Duration::from_secs(2))?
//!     // At most one retry for ten requests, and three more in each second.
//!     .budget(RetryBudget::new().ratio(0.1)?.per_second(3));
//! let backends = LoadBalance::builder()
//!     .retry(retry)
//!     .hedge(Hedge::percentile(0.99)?)
//!     .urls(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
//! # Ok::<(), axum_upstream::Error>(())
//! ```

// Nothing here sends. The loop over attempts is the balancer's (`balance/dispatch/`), because it needs what only the
// balancer knows: the endpoints that were tried, and which others are available. Each file depends only on those
// further down.
//
// - `copy`: what is kept of a request so that it can be sent again: the head, and a `Replay` of the body.
// - `policy`: outcome and head in, decision out. `hedge`: the delay of hedging.
// - `budget`: one ledger is shared by all requests of a cluster; in an outage it bounds what retries add to the load of
//   endpoints that have enough to do.
// - `replay`, over `source` and `slot`: the body of each attempt, from what was kept (`body/kept.rs`) and the rest of
//   the client's.

mod budget;
mod copy;
mod hedge;
mod policy;
mod replay;
mod slot;
mod source;

pub use self::{
    budget::RetryBudget,
    hedge::Hedge,
    policy::{FailedAttempt, Retry},
};
pub(crate) use self::{budget::RetryLedger, copy::RequestCopy, hedge::HedgeDelay};
