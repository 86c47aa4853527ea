//! A small world in virtual time, in which the real `LoadBalance` balances.

pub mod client;
pub mod clock;
pub mod load;
pub mod server;
