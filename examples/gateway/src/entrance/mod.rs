//! What lies between a listener's sockets and HTTP, and what is done with requests before they are forwarded.
//!
//! - This file: a connection's PROXY header, its place among those of its address, and TLS, in this order.
//! - `refusals.rs`: what is logged of connections that do not get through.
//! - `gate.rs`: a request's rate, redirect and client certificate.

mod gate;
mod redirect;
mod refusals;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use gateway::proxy_protocol::{ProxyHeaderError, read_header};
use ipnet::IpNet;
use tokio::sync::OwnedSemaphorePermit;

use self::refusals::RefusalLog;
pub(crate) use self::{gate::Gate, redirect::HttpsRedirect};
use crate::{
    connection::{ClientStream, HeldPlace, RawStream},
    limits::{AddressKey, AddressPlaces},
    tls::{ClientCertificate, TlsServer},
};

/// What a connection of one listener goes through before HTTP.
#[derive(Debug, Default)]
pub(crate) struct Entrance {
    /// The listener, in the log.
    pub(crate) listener: String,
    /// The networks whose connections begin with a PROXY header.
    pub(crate) proxy_protocol: Vec<IpNet>,
    /// The connections of each address, if they are limited.
    pub(crate) address_places: Option<Arc<AddressPlaces>>,
    /// TLS, if it is spoken.
    pub(crate) tls: Option<Arc<TlsServer>>,
    /// Where clients are sent, if this listener is there for that.
    pub(crate) redirect: Option<HttpsRedirect>,
    /// What is logged of PROXY headers.
    pub(crate) refused_headers: RefusalLog,
    /// What is logged of handshakes of TLS.
    pub(crate) refused_handshakes: RefusalLog,
}

/// A connection that has gone through.
pub(crate) struct EnteredConnection {
    /// What HTTP is spoken on.
    pub(crate) stream: ClientStream,
    /// Held for as long as the socket is open.
    pub(crate) place: HeldPlace,
    /// Whether it is HTTP/2, if that was agreed on.
    pub(crate) is_http2: Option<bool>,
    /// The client's address, as far as it has one.
    pub(crate) address: Option<SocketAddr>,
    /// Whether the client speaks TLS, with this program or with a load balancer in front of it.
    pub(crate) is_tls: bool,
    /// What the client has proved to be.
    pub(crate) certificate: Option<ClientCertificate>,
}

impl Entrance {
    /// Lets a connection in.
    ///
    /// A connection of a network that is trusted with the PROXY protocol has to begin with a header. A header from any
    /// other network is not interpreted, because any client could send one and claim another address.
    ///
    /// # Errors
    ///
    /// Returns an error if the header is malformed, the address has too many connections, or there is no TLS with the
    /// client. The connection is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub(crate) async fn enter(
        &self,
        mut stream: RawStream,
        peer: Option<SocketAddr>,
        place: OwnedSemaphorePermit,
    ) -> io::Result<EnteredConnection> {
        let (mut address, mut is_tls) = (peer, false);
        if self.expects_header(peer) {
            // Boxed, as is TLS below: the future of a connection has no room for what it does not do.
            let client = Box::pin(read_header(&mut stream)).await;
            let client = client.map_err(|error| match error {
                ProxyHeaderError::Io(error) => error,
                malformed => io::Error::other(malformed),
            });
            let client = self.refused_headers.note(client, &self.listener, peer)?;
            address = client.address.or(peer);
            is_tls = client.is_tls;
        }
        let address_place = match (&self.address_places, address) {
            (Some(places), Some(address)) => {
                let place = places.take(AddressKey::new(address.ip()));
                place.map_err(|_| io::Error::other("too many connections of this address"))?
            }
            _ => None,
        };
        let place = HeldPlace::new(place, address_place);
        let Some(tls) = &self.tls else {
            return Ok(EnteredConnection {
                stream: ClientStream::Raw(stream),
                place,
                is_http2: None,
                address,
                is_tls,
                certificate: None,
            });
        };
        let tls = Box::pin(tls.accept(stream)).await;
        let tls = self.refused_handshakes.note(tls, &self.listener, peer)?;
        Ok(EnteredConnection {
            stream: ClientStream::Tls(Box::new(tls.stream)),
            place,
            is_http2: Some(tls.is_http2),
            address,
            is_tls: true,
            certificate: tls.certificate,
        })
    }

    /// Returns whether a connection has to begin with a PROXY header. On a Unix socket, its mode says who is trusted.
    fn expects_header(&self, peer: Option<SocketAddr>) -> bool {
        if self.proxy_protocol.is_empty() {
            return false;
        }
        let trusts = |peer: IpAddr| self.proxy_protocol.iter().any(|net| net.contains(&peer));
        peer.is_none_or(|peer| trusts(peer.ip().to_canonical()))
    }
}
