//! What an exchange knows of its client.

use std::net::{IpAddr, SocketAddr};

/// What is known of the client, after the forwarding fields of trusted proxies have been taken into account.
///
/// Balancing policies use it: `address` is hashed by the policy for client addresses, `tls` decides about the `Secure`
/// attribute of the session cookie. All fields are unset in the record of a request that no `ReverseProxy` has
/// received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientFacts {
    /// The client's address, as far as it can be trusted: see `ForwardedPolicy::client_address`.
    pub(crate) address: Option<IpAddr>,
    /// The remote address of the connection on which the request arrived: the client's, or that of a proxy in front.
    pub(crate) peer: Option<SocketAddr>,
    /// Whether the client's own connection is encrypted, which a trusted proxy in front may have terminated.
    pub(crate) tls: bool,
}

impl ClientFacts {
    /// Returns the identity of the client's connection, or `None` if its address is unknown.
    pub(crate) fn connection(&self) -> Option<ClientConnection> {
        let client = self.address;
        self.peer.map(|peer| ClientConnection { peer, client })
    }
}

/// The identity of one client's connection: no two that are open at the same time have equal addresses.
///
/// A connection to an endpoint that authenticates its client as a whole, as NTLM does, is tied to it. On a connection
/// of a trusted proxy, which carries the requests of many clients, each client address has an identity of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientConnection {
    peer: SocketAddr,
    client: Option<IpAddr>,
}

impl ClientConnection {
    /// Returns the address of the client, as far as it can be trusted.
    ///
    /// The port of a client behind a trusted proxy is 0: only that proxy knows it.
    pub(crate) fn source(&self) -> SocketAddr {
        match self.client {
            Some(client) if client != self.peer.ip().to_canonical() => SocketAddr::new(client, 0),
            _ => self.peer,
        }
    }
}
