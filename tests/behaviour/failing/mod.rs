//! Endpoints that fail, over real sockets: what the client sees, what is tried again and where, and what becomes of the
//! endpoint.
//!
//! Most clusters here have a failing endpoint and a good one, and are asked in turn, so that each test knows which of
//! them is asked first. All other settings are the defaults unless a test says otherwise.

mod bodies;
mod draining;
mod ejection;
mod heads;
mod http2;
mod limits;
mod replay;
mod rolling;
mod servers;
mod slow;
pub(crate) mod trial;
