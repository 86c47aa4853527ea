//! Sockets that listen on an address and a port.
//!
//! Everything here is about the kernel's side of a connection: its backlog, its keep-alive probes, its timeout for data
//! that a client does not take.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpSocket;

/// The number of connections that the kernel may have accepted and this program has not. The kernel lowers it to its
/// own limit, `net.core.somaxconn`; tokio's default is 1024.
pub(super) const BACKLOG: u32 = 65_535;

/// How long a client may say nothing before the kernel probes it.
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// The time between two probes.
const PROBE_AGAIN: Duration = Duration::from_secs(15);

/// Listens on an address, `count` times. The kernel then deals out the connections, which only Linux does evenly.
///
/// On Linux, the kernel closes the connection of a client that takes nothing of what is written to it for as long as
/// `stalled`.
///
/// # Errors
///
/// Returns an error if the address is in use, or is not one of this host.
pub(super) fn bind(
    address: SocketAddr,
    count: usize,
    stalled: Duration,
) -> io::Result<Vec<TcpListener>> {
    let first = socket(address)?;
    // An address that may be shared is never in use: another process of the same user would get a part of the
    // connections without a word. So the first socket has it for itself until now.
    first.bind(address)?;
    // The port may have been left to the system.
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    #[cfg(target_os = "linux")]
    for n in 1..count {
        let next = socket(address)?;
        sockets[n - 1].set_reuseport(true)?;
        next.set_reuseport(true)?;
        next.bind(address)?;
        sockets.push(next);
    }
    let listen = |socket| listen(socket, stalled);
    sockets.into_iter().map(listen).collect()
}

/// Returns a socket for an address.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

/// Listens on a socket that has an address.
fn listen(socket: TcpSocket, stalled: Duration) -> io::Result<TcpListener> {
    // The runtime that accepts on it may be another one than this.
    let listener = socket.listen(BACKLOG)?.into_std()?;
    set_options(&listener, stalled);
    Ok(listener)
}

/// Sets the options that accepted sockets inherit. The lack of one is no reason not to start.
pub(super) fn set_options(listener: &TcpListener, stalled: Duration) {
    let options = SockRef::from(listener);
    let probes = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_AGAIN);
    if let Err(error) = options.set_tcp_keepalive(&probes) {
        tracing::debug!(%error, "no keep-alive probes");
    }
    // It counts while sent data is not acknowledged, and while the client's window is closed. A limit on the time
    // between two writes would cut off slow clients as well: much may have to be taken before there is room for the
    // next write.
    #[cfg(target_os = "linux")]
    if let Err(error) = options.set_tcp_user_timeout(Some(stalled)) {
        tracing::warn!(%error, "no limit for clients that do not read");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stalled;
}
