//! A socket of either kind, as the system has it.

use std::io;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::delegate_io::delegate_io;

/// The stream of a connection without what is spoken on it.
#[derive(Debug)]
pub(crate) enum RawStream {
    /// Of an address and a port.
    Tcp(TcpStream),
    /// Of a Unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Calls a method of the stream that is there.
macro_rules! either {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Self::Tcp($stream) => $call,
            #[cfg(unix)]
            Self::Unix($stream) => $call,
        }
    };
}

delegate_io!(RawStream {
    Tcp,
    #[cfg(unix)]
    Unix
});

impl RawStream {
    /// Has each write sent at once.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            #[cfg(unix)]
            Self::Unix(_) => Ok(()),
        }
    }

    /// Has the system probe the other end. A Unix socket needs none: its system knows.
    pub(super) fn set_keepalive(&self, probes: &TcpKeepalive) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).set_tcp_keepalive(probes),
            #[cfg(unix)]
            Self::Unix(_) => Ok(()),
        }
    }

    /// Returns the error of the socket, and clears it.
    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        either!(self, stream => stream.take_error())
    }

    /// Waits for something to read.
    pub(super) async fn readable(&self) -> io::Result<()> {
        either!(self, stream => stream.readable().await)
    }

    /// Reads what is there.
    pub(super) fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        either!(self, stream => stream.try_read(bytes))
    }
}
