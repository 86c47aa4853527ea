//! The simulation: clients, servers and virtual time, between which the real `LoadBalance` balances.

pub mod client;
pub mod clock;
pub mod load;
pub mod server;
