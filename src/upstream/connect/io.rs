//! The streams that HTTP is spoken on, as one type.
//!
//! Enums rather than trait objects: a read through a `match` is cheaper than one through a virtual table, and reads are
//! what a proxy does most. The streams are, from the outside in:
//!
//! - [`Io`]: plain or TLS.
//! - [`Transport`]: TCP, a Unix socket, or the stream of a user's connector.
//!
//! The implementations of the I/O traits forward each call unchanged, the vectored ones included.

use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(test)]
use hyper_util::rt::TokioIo;
use socket2::SockRef;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::custom::CustomIo;

/// What carries bytes, encrypted or not.
#[derive(Debug)]
pub(in crate::upstream) enum Transport {
    /// A TCP connection, with `TCP_NODELAY`.
    Tcp(TcpStream),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
    /// The stream of a user's connector.
    Custom(CustomIo),
}

impl Transport {
    /// Connects to a Unix socket.
    #[cfg(unix)]
    pub(super) async fn unix(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).await.map(Self::Unix)
    }

    /// Fails: this platform has no Unix sockets.
    #[cfg(not(unix))]
    pub(super) async fn unix(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns the address that a TCP connection goes to. `None` for other streams.
    pub(super) fn remote_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(io) => io.peer_addr().ok(),
            _ => None,
        }
    }

    /// Returns whether neither bytes nor the end of the stream wait in the socket, unread.
    ///
    /// Asks the operating system, because a runtime hears of them a moment later, and a busy one later still. An error
    /// counts as not silent. The stream of a user's connector cannot be asked, and counts as silent.
    fn is_silent(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(io) => SockRef::from(io).peek(&mut byte),
            #[cfg(unix)]
            Self::Unix(io) => SockRef::from(io).peek(&mut byte),
            Self::Custom(_) => return true,
        };
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// What carries HTTP.
#[derive(Debug)]
pub(in crate::upstream) enum Io {
    /// No encryption; or a user's connector has performed the TLS handshake itself.
    Plain(Transport),
    /// TLS over a transport. Boxed, because the state of a TLS connection is large.
    #[cfg(feature = "_tls")]
    Tls(Box<tokio_rustls::client::TlsStream<Transport>>),
}

impl Io {
    /// Returns a stream in memory, which holds up to `size` bytes in each direction, and its other end.
    #[cfg(test)]
    pub(in crate::upstream) fn in_memory(size: usize) -> (Self, tokio::io::DuplexStream) {
        let (own, other) = tokio::io::duplex(size);
        (
            Self::Plain(Transport::Custom(CustomIo::new(TokioIo::new(own)))),
            other,
        )
    }

    /// Returns whether neither bytes nor the end of the stream wait in the socket, unread, as far as it can be asked.
    ///
    /// Under TLS the socket is asked, not the session: waiting bytes of a session ticket, too, count as not silent.
    pub(in crate::upstream) fn is_silent(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_silent(),
            #[cfg(feature = "_tls")]
            Self::Tls(io) => io.get_ref().0.is_silent(),
        }
    }
}

/// Forwards a call to the stream in a [`Transport`], or with `tls` to the one in an [`Io`].
macro_rules! each {
    ($this:expr, $io:ident => $call:expr) => {
        match $this.get_mut() {
            Transport::Tcp(io) => {
                let $io = Pin::new(io);
                $call
            }
            #[cfg(unix)]
            Transport::Unix(io) => {
                let $io = Pin::new(io);
                $call
            }
            Transport::Custom(io) => {
                let $io = Pin::new(io);
                $call
            }
        }
    };
    (tls $this:expr, $io:ident => $call:expr) => {
        match $this.get_mut() {
            Io::Plain(io) => {
                let $io = Pin::new(io);
                $call
            }
            #[cfg(feature = "_tls")]
            Io::Tls(io) => {
                let $io = Pin::new(io);
                $call
            }
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(io) => io.is_write_vectored(),
            #[cfg(unix)]
            Self::Unix(io) => io.is_write_vectored(),
            Self::Custom(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_shutdown(cx))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(tls self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(tls self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(tls self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            #[cfg(feature = "_tls")]
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(tls self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(tls self, io => io.poll_shutdown(cx))
    }
}
