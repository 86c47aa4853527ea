//! Connections to endpoints.

mod closing;
mod connecting;
mod duplex;
mod exchanges;
mod lifetimes;
mod limits;
mod multiplexing;
mod refusals;
mod reuse;
mod sockets;
