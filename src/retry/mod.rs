//! Retries.
mod budget;
mod copy;
mod hedge;
mod policy;
mod replay;
pub use self::{
    budget::RetryBudget,
    hedge::Hedge,
    policy::{FailedAttempt, Retry},
};
pub(crate) use self::{budget::RetryLedger, copy::RequestCopy, hedge::HedgeDelay};
