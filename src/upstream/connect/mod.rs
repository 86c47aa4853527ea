//! From an endpoint's address to a connected stream.
//!
//! [`Connector`] takes the stream of a connector of the user's, of a Unix socket or of TCP, and speaks TLS over it
//! where the scheme asks for that. TCP asks the [`Resolver`] for addresses and races them (`tcp.rs`); those that have
//! failed lately go last (`history.rs`). What this process has run out of is told apart from what the endpoint fails
//! with (`shortage.rs`).

mod connected;
mod connector;
mod custom;
#[cfg(feature = "_tls")]
mod default_tls;
mod history;
mod io;
mod resolver;
mod shortage;
mod tcp;
#[cfg(feature = "_tls")]
mod tls;

#[cfg(feature = "_tls")]
pub(super) use self::tls::Tls;
pub(super) use self::{
    connected::Versions, connector::Connector, custom::Custom, io::Io, resolver::Resolver,
};
