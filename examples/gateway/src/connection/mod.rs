//! One connection of a client, from its first byte to its last.

mod activity;
mod drive;
mod exchange;
mod half_closed;
mod server;
mod socket;
mod stream;
mod version;

pub(crate) use self::{
    activity::QuietLimits, drive::Stage, exchange::HeadLimits, server::ConnectionLimits,
    server::Server,
};
