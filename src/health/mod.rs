//! Whether an endpoint works: what its requests show, and what is done about it.
//!
//! [`Ejection`] has the settings of passive ejection: an endpoint that fails is taken out of use for a while, and comes
//! back by a single successful request. The default suits most clusters:
//!
//! ```
//! use std::time::Duration;
//!
//! use axum_upstream::{LoadBalance, health::Ejection};
//!
//! let ejection = Ejection::default()
//!     .consecutive_failures(3)?
//!     .backoff(Duration::from_millis(500), Duration::from_secs(30))?;
//! let backends = LoadBalance::builder()
//!     .ejection(ejection)
//!     .urls(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
//! # Ok::<(), axum_upstream::Error>(())
//! ```
//!
//! `docs/RESILIENCE.md` has the states of an endpoint, and says how ejection, retries and limits act together.

// What is here knows one endpoint and no cluster. `EjectionState` observes the outcomes of attempts and says when its
// endpoint should be ejected; the survey of the cluster (`endpoint/survey.rs`) decides whether it is, since that depends
// on the others.

mod ejection;
mod state;
mod success_rate;

pub use self::ejection::Ejection;
pub(crate) use self::{
    state::{EjectionState, Trip},
    success_rate::Rate,
};
