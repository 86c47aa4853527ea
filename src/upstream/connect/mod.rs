//! Opens connections: from an endpoint's address to a connected stream.
//!
//! [`Connector`] chooses among three transports: a connector of the user's, a Unix socket, or TCP. It speaks TLS over
//! them where the scheme is `https`, unless the user's connector does so itself. What it returns is an [`Io`], and
//! whether HTTP/2 was negotiated on it; the handshake of HTTP is `http1/` and `http2/`'s. Where a PROXY header is to be
//! sent (`proxy_protocol.rs`), it goes out before TLS, and HTTP/1.1 alone is offered.
//!
//! For TCP, the [`Resolver`] looks up addresses, which are tried in an overlapping sequence (`tcp.rs`); those that have
//! failed lately are tried last (`history.rs`). Errors that are due to what this process has run out of are told apart
//! from failures of the endpoint (`shortage.rs`), so that an endpoint is not ejected for them.
//!
//! The future of a connection owns everything that it has opened. Dropping it, as the connect timeout does, closes all;
//! nothing is spawned, but for the name lookup and the loading of trust roots, which run on tokio's blocking threads
//! and finish there.
//!
//! What is not here: retries (the balancer tries another endpoint), the pool, and proxies such as SOCKS, for which
//! `ClientBuilder::connector` is.

mod connected;
mod connector;
mod custom;
#[cfg(feature = "_tls")]
mod default_tls;
mod history;
mod io;
mod proxy_protocol;
mod resolver;
mod shortage;
mod tcp;
#[cfg(feature = "_tls")]
mod tls;

#[cfg(all(feature = "_tls", any(feature = "config", feature = "kubernetes")))]
pub(crate) use self::default_tls::tls_config;
pub use self::proxy_protocol::ProxyProtocol;
#[cfg(feature = "_tls")]
pub(super) use self::tls::Tls;
pub(super) use self::{
    connected::Versions,
    connector::Connector,
    custom::Custom,
    io::Io,
    resolver::{AddressCheck, Resolver},
};
