//! Listens, accepts connections, and takes the last ones when the program stops.
//!
//! Everything here is about the kernel's side of a connection: its backlog, its keep-alive probes, its timeout for data
//! that a client does not take.

use std::{
    io,
    net::{self, SocketAddr},
    time::Duration,
};

#[cfg(target_os = "linux")]
use socket2::SockFilter;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::OwnedSemaphorePermit,
    time::sleep,
};

use crate::places::Places;

/// The number of connections that the kernel may have accepted and this program has not. The kernel lowers it to its
/// own limit, `net.core.somaxconn`; tokio's default is 1024.
const BACKLOG: u32 = 65_535;

/// How long a client may say nothing before the kernel probes it.
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// The time between two probes.
const PROBE_AGAIN: Duration = Duration::from_secs(15);

/// A packet filter that lets nothing through: "return 0", that is, keep no byte.
#[cfg(target_os = "linux")]
const IGNORE: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// How long to wait when the system has no file or memory left for a connection.
const NOTHING_LEFT: Duration = Duration::from_millis(100);

/// Listens on an address, `count` times. The kernel then deals out the connections, which only Linux does evenly.
///
/// On Linux, the kernel closes the connection of a client that takes nothing of what is written to it for as long as
/// `stalled`.
///
/// # Errors
///
/// Returns an error if the address is in use, or is not one of this host.
pub(crate) fn bind(
    address: SocketAddr,
    count: usize,
    stalled: Duration,
) -> io::Result<Vec<net::TcpListener>> {
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
fn listen(socket: TcpSocket, stalled: Duration) -> io::Result<net::TcpListener> {
    let listener = socket.listen(BACKLOG)?;
    // Accepted sockets inherit these options. The lack of one is no reason not to start.
    let options = SockRef::from(&listener);
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
    // The runtime that accepts on it may be another one than this.
    listener.into_std()
}

/// Returns the next connection. An error of accepting is logged, and does not end the program.
///
/// # Cancel safety
///
/// No connection is lost if the future is dropped.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                sleep(NOTHING_LEFT).await;
            }
        }
    }
}

/// Takes what the kernel has accepted, as long as there are places, and closes the listener. What is left when a
/// listener closes is reset by the kernel.
///
/// # Errors
///
/// Returns an error if the system refuses to let a connection be taken.
pub(crate) async fn drain(
    listener: TcpListener,
    places: &Places,
    serve: impl Fn(TcpStream, SocketAddr, OwnedSemaphorePermit),
) -> io::Result<()> {
    // The runtime may not have heard of the last ones; the kernel has.
    let listener = listener.into_std()?;
    let take_all = async || {
        loop {
            let place = places.take().await;
            match listener.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    serve(TcpStream::from_std(stream)?, peer, place);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_about_one(&error) => {}
                Err(error) => return Err(error),
            }
        }
    };
    take_all().await?;
    // A connection may arrive between the last look and the close. Once the kernel ignores those that arrive, there is
    // a last one.
    #[cfg(target_os = "linux")]
    if SockRef::from(&listener).attach_filter(&[IGNORE]).is_ok() {
        take_all().await?;
    }
    Ok(())
}

/// Returns whether the error is that of one connection, so that there may be another.
fn is_about_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}
