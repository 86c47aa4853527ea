//! One request to one service, and its answer back.
//!
//! `service.rs` makes the request fit to be sent, `future.rs` waits for the answer within its deadlines, `upgrade.rs`
//! joins two connections into a tunnel. Which service it is, one server or a balancer over many, makes no difference
//! here.

mod future;
mod service;
mod timeout;
mod upgrade;

pub(crate) use self::{
    future::ForwardFuture,
    service::{Forward, Received, Start},
};
