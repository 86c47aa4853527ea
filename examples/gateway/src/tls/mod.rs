//! TLS with the clients of a listener, by rustls.
//!
//! - `server.rs` accepts connections with the settings that hold now.
//! - `load.rs` makes these settings of files, and `certificates.rs` chooses a certificate by the name that a client
//!   asks for.
//! - `reload.rs` makes new settings when the files change. Connections that are there keep theirs.
//! - `client.rs` is what a client's certificate says.

mod certificates;
mod client;
mod load;
mod reload;
mod server;

pub(crate) use self::{
    client::{CLIENT_CERT, ClientCertificate, remove_client_cert},
    reload::reload_all,
    server::{LoadedTls, TlsServer},
};
