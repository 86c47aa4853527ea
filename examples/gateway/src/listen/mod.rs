//! Listens: on addresses and ports, on Unix sockets, and on sockets that the service manager passes.
//!
//! - `config.rs` and `address.rs` are the settings, as plain data.
//! - `tcp.rs`, `unix.rs` and `inherited.rs` open the sockets of a listener, one for each thread.
//! - `socket.rs` accepts connections on one of them.

mod address;
mod config;
mod inherited;
mod socket;
mod tcp;
#[cfg(unix)]
mod unix;

use std::{fmt, io, net::SocketAddr, time::Duration};

pub(crate) use self::inherited::InheritedSockets;
use self::socket::SocketKind;
#[cfg(unix)]
use self::unix::SocketFile;
pub(crate) use self::{
    address::ListenAddress,
    config::{
        CertificateFiles, ClientCertificateConfig, HttpsRedirectConfig, ListenerConfig, SocketMode,
        TlsConfig, TlsVersion,
    },
    socket::{AcceptedStream, ListenSocket},
};

/// A listener that listens.
#[derive(Debug)]
pub(crate) struct BoundListener {
    /// Its settings.
    pub(crate) config: ListenerConfig,
    /// Its address and port, with the port that the system chose. `None` for a Unix socket.
    pub(crate) local: Option<SocketAddr>,
    /// Its sockets, one for each thread.
    pub(crate) sockets: Vec<ListenSocket>,
    /// The file of a Unix socket.
    #[cfg(unix)]
    pub(crate) file: Option<SocketFile>,
}

impl BoundListener {
    /// Listens by `count` sockets, one for each thread.
    ///
    /// On Linux, the kernel closes the connection of a client that takes nothing of what is written to it for as long
    /// as `stalled`, unless it is one of a Unix socket.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is in use, or the system refuses it.
    pub(crate) fn bind(
        config: ListenerConfig,
        inherited: &mut InheritedSockets,
        count: usize,
        stalled: Duration,
    ) -> io::Result<Self> {
        #[cfg(unix)]
        let mut file = None;
        let sockets = match &config.address {
            ListenAddress::Tcp(address) => {
                let sockets = tcp::bind(*address, count, stalled)?;
                let sockets = sockets.into_iter().map(SocketKind::Tcp);
                sockets.map(ListenSocket::new).collect()
            }
            #[cfg(unix)]
            ListenAddress::Unix(path) => {
                let (socket, made) = unix::bind(path, config.mode)?;
                file = Some(made);
                shared(ListenSocket::new(SocketKind::Unix(socket)), count)?
            }
            ListenAddress::Fd(descriptor) => {
                let socket = inherited.take(*descriptor)?;
                if let SocketKind::Tcp(listener) = &socket.kind {
                    tcp::set_options(listener, stalled);
                }
                shared(socket, count)?
            }
            #[cfg(not(unix))]
            ListenAddress::Unix(_) => {
                return Err(io::ErrorKind::Unsupported.into());
            }
        };
        Ok(Self {
            local: sockets.first().and_then(ListenSocket::local_addr),
            config,
            sockets,
            #[cfg(unix)]
            file,
        })
    }
}

impl fmt::Display for BoundListener {
    /// Writes the URL of the listener, as far as there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.config.tls {
            Some(_) => "https",
            None => "http",
        };
        match self.local {
            Some(address) => write!(f, "{scheme}://{address}"),
            None => write!(f, "{} ({scheme})", self.config.address),
        }
    }
}

/// Returns `count` sockets that take connections from one queue.
fn shared(first: ListenSocket, count: usize) -> io::Result<Vec<ListenSocket>> {
    let mut all = Vec::with_capacity(count);
    for _ in 1..count {
        all.push(first.share()?);
    }
    all.push(first);
    Ok(all)
}
