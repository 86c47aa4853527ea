//! One socket that listens, of either kind: accepts connections, and takes the last ones when the program stops.

#[cfg(unix)]
use std::os::unix::net::UnixListener as StdUnixListener;
use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    time::Duration,
};

#[cfg(target_os = "linux")]
use socket2::SockFilter;
use socket2::SockRef;
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    time::sleep,
};

use crate::{connection::RawStream, places::Places};

/// A packet filter that lets nothing through: "return 0", that is, keep no byte.
#[cfg(target_os = "linux")]
const IGNORE: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// How long to wait when the system has no file or memory left for a connection.
const NOTHING_LEFT: Duration = Duration::from_millis(100);

/// A socket that listens, and has no runtime yet.
#[derive(Debug)]
pub(crate) struct ListenSocket {
    pub(super) kind: SocketKind,
    /// Whether it goes on to listen for another process when this one has stopped.
    stays: bool,
}

/// The kind of a socket.
#[derive(Debug)]
pub(super) enum SocketKind {
    Tcp(StdTcpListener),
    #[cfg(unix)]
    Unix(StdUnixListener),
}

impl ListenSocket {
    /// Returns a socket that this process has opened.
    pub(super) fn new(kind: SocketKind) -> Self {
        Self { kind, stays: false }
    }

    /// Returns a socket that the service manager keeps open.
    pub(super) fn inherited(kind: SocketKind) -> Self {
        Self { kind, stays: true }
    }

    /// Has `accept` return instead of waiting.
    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        match &self.kind {
            SocketKind::Tcp(socket) => socket.set_nonblocking(true),
            #[cfg(unix)]
            SocketKind::Unix(socket) => socket.set_nonblocking(true),
        }
    }

    /// Returns the same socket once more: both take connections from one queue.
    pub(super) fn share(&self) -> io::Result<Self> {
        let kind = match &self.kind {
            SocketKind::Tcp(socket) => SocketKind::Tcp(socket.try_clone()?),
            #[cfg(unix)]
            SocketKind::Unix(socket) => SocketKind::Unix(socket.try_clone()?),
        };
        Ok(Self {
            kind,
            stays: self.stays,
        })
    }

    /// Returns its address and port. `None` for a Unix socket.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            SocketKind::Tcp(socket) => socket.local_addr().ok(),
            #[cfg(unix)]
            SocketKind::Unix(_) => None,
        }
    }

    /// Has the current runtime accept on it.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub(crate) fn listen(self) -> io::Result<Listener> {
        let kind = match self.kind {
            SocketKind::Tcp(socket) => ListenerKind::Tcp(TcpListener::from_std(socket)?),
            #[cfg(unix)]
            SocketKind::Unix(socket) => ListenerKind::Unix(UnixListener::from_std(socket)?),
        };
        Ok(Listener {
            kind,
            stays: self.stays,
        })
    }
}

impl SocketKind {
    /// Takes a connection that the kernel has accepted. Returns `WouldBlock` if there is none.
    fn take(&self) -> io::Result<AcceptedStream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((RawStream::Tcp(TcpStream::from_std(stream)?), Some(peer)))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((RawStream::Unix(UnixStream::from_std(stream)?), None))
            }
        }
    }
}

/// A connection, and the address of its other end if it has one.
pub(crate) type AcceptedStream = (RawStream, Option<SocketAddr>);

/// A socket on which the current runtime accepts.
#[derive(Debug)]
pub(crate) struct Listener {
    kind: ListenerKind,
    stays: bool,
}

#[derive(Debug)]
enum ListenerKind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Listener {
    /// Returns the next connection. An error of accepting is logged, and does not end the program.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost if the future is dropped.
    pub(crate) async fn accept(&self) -> AcceptedStream {
        loop {
            match self.try_accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_about_one(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    sleep(NOTHING_LEFT).await;
                }
            }
        }
    }

    async fn try_accept(&self) -> io::Result<AcceptedStream> {
        match &self.kind {
            ListenerKind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((RawStream::Tcp(stream), Some(peer)))
            }
            #[cfg(unix)]
            ListenerKind::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((RawStream::Unix(stream), None))
            }
        }
    }

    /// Takes what the kernel has accepted, as long as there are places, and closes the listener. What is left when a
    /// listener closes is reset by the kernel.
    ///
    /// A socket of the service manager stays open there. What it has accepted is left for the next process.
    ///
    /// # Errors
    ///
    /// Returns an error if the system refuses to let a connection be taken.
    pub(crate) async fn drain(
        self,
        places: &Places,
        serve: impl Fn(AcceptedStream, OwnedSemaphorePermit),
    ) -> io::Result<()> {
        if self.stays {
            return Ok(());
        }
        // The runtime may not have heard of the last ones; the kernel has.
        let socket = match self.kind {
            ListenerKind::Tcp(listener) => SocketKind::Tcp(listener.into_std()?),
            #[cfg(unix)]
            ListenerKind::Unix(listener) => SocketKind::Unix(listener.into_std()?),
        };
        let take_all = async || {
            loop {
                let place = places.take().await;
                match socket.take() {
                    Ok(accepted) => serve(accepted, place),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) if is_about_one(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        };
        take_all().await?;
        // A connection may arrive between the last look and the close. Once the kernel ignores those that arrive, there
        // is a last one. The path of a Unix socket is gone already.
        #[cfg(target_os = "linux")]
        if let SocketKind::Tcp(listener) = &socket {
            if SockRef::from(listener).attach_filter(&[IGNORE]).is_ok() {
                take_all().await?;
            }
        }
        Ok(())
    }
}

/// Returns whether the error is that of one connection, so that there may be another.
fn is_about_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}
