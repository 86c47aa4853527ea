//! One request to one service, and its answer back: heads rewritten, bodies watched, deadlines, upgrades.

mod answer;
mod config;
mod future;
mod head_timer;
mod hooks;
mod service;
mod timeouts;

pub use self::timeouts::RequestTimeouts;
pub(crate) use self::{
    future::ForwardFuture,
    service::{Forward, Received, Start},
};
