//! What is known of one exchange: a client's request and its answer, with every attempt to get it.
//!
//! There is one [`Record`] per exchange. It travels up with the request body and is read by everything that has to
//! know how the exchange went: deadlines, the balancer, the answer's [`Info`]. How an attempt ended is decided in one
//! place, [`Outcome::decide`].

mod attempt;
mod exchange;
mod guard;
mod info;
mod outcome;
mod upload;

pub use self::{
    attempt::Attempt,
    info::Info,
    outcome::{Outcome, Stage},
};
pub(crate) use self::{
    exchange::{ClientConnection, ClientFacts, Record},
    guard::AttemptGuard,
    outcome::{Verdict, grpc_verdict, status_verdict},
    upload::{OnSent, UploadState},
};
