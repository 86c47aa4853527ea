//! The streams there are, as one type: a call per read is cheaper by a match than by a table.

use std::{
    io,
    mem::MaybeUninit,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::SockRef;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::custom::CustomIo;

/// What carries bytes.
#[derive(Debug)]
pub(in crate::upstream) enum Transport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Custom(CustomIo),
}

impl Transport {
    #[cfg(unix)]
    pub(super) async fn unix(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).await.map(Self::Unix)
    }

    #[cfg(not(unix))]
    pub(super) async fn unix(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether neither bytes nor the end of the stream wait in the socket, unread. A runtime hears of them a moment
    /// later, and a busy one later still. What is no socket of ours cannot be asked, and passes for silent.
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
    Plain(Transport),
    #[cfg(feature = "_tls")]
    Tls(Box<tokio_rustls::client::TlsStream<Transport>>),
}

impl Io {
    /// Whether neither bytes nor the end of the stream wait in the socket, unread, as far as it can be asked.
    pub(in crate::upstream) fn is_silent(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_silent(),
            #[cfg(feature = "_tls")]
            Self::Tls(io) => io.get_ref().0.is_silent(),
        }
    }
}

/// Hands a call on to whichever stream it is.
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
