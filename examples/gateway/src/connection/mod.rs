//! One connection of a client, from its first byte to its last.
//!
//! hyper speaks HTTP, and everything that it leaves to the server around it is here:
//!
//! - `raw_stream.rs` and `client_stream.rs` are what it is spoken on: a socket, or TLS on a socket.
//! - `server.rs` sets up hyper for both versions, and serves a connection; `http1.rs` does without hyper while it is
//!   idle.
//! - `version.rs` finds out which version the client speaks.
//! - `socket.rs` and `half_closed.rs` watch the client's socket while hyper does not read it.
//! - `activity.rs` and `drive.rs` end connections that are quiet for too long, and all of them at a shutdown.
//! - `exchange.rs` and `stream.rs` limit heads, and HTTP/2 streams whose client does not read.
//!
//! The only task that is not hyper's is the one that [`Server::serve`] is called in.

mod activity;
mod client_stream;
mod delegate_io;
mod drive;
mod exchange;
mod half_closed;
mod held_place;
mod http1;
mod raw_stream;
mod server;
mod socket;
mod stream;
mod version;

pub(crate) use self::{
    activity::QuietLimits,
    client_stream::ClientStream,
    drive::Stage,
    exchange::{HeadLimits, Upload},
    held_place::HeldPlace,
    raw_stream::RawStream,
    server::{ConnectionLimits, OpenedConnection, Server},
};
