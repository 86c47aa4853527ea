//! The stream under an HTTP/2 connection.
//!
//! Unlike `http1/io.rs` it bounds nothing, since h2 has limits for everything that an endpoint may send
//! (`settings.rs`). It only ties the place among the open connections to the socket.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    limit::Permit,
    upstream::{connect::Io, connection_counts::CountedConnection},
};

/// A stream that holds a place among the open connections for exactly as long as the socket is open.
///
/// hyper's socket task owns it, and says goodbye after the last handle of the connection is gone. A place that was
/// returned with the last handle would let more sockets be open than the limit allows.
pub(super) struct Http2Io {
    /// The socket, with TLS where there is any.
    io: Io,
    /// The place. Declared after the socket, and so dropped after it.
    _permit: Option<Permit>,
    /// Counts the connection as open.
    _open: CountedConnection,
}

impl Http2Io {
    /// Wraps `io`. There is no permit if connections are not limited.
    pub(super) fn new(io: Io, permit: Option<Permit>, open: CountedConnection) -> Self {
        Self {
            io,
            _permit: permit,
            _open: open,
        }
    }
}

impl AsyncRead for Http2Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Http2Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
