//! The stream under an HTTP/1 connection: bounds what an endpoint may send, and survives an endpoint that stops
//! reading.
//!
//! hyper reads for as long as there is something to read, and reports a failed write before it looks at what was
//! received. [`Http1Io`] sits between hyper and the socket, and changes four things:
//!
//! - **Fairness.** After 256 KiB without a pause a read returns `Pending` and wakes its task, so that other tasks of
//!   the thread run. An endpoint that sends faster than hyper parses could otherwise keep the thread.
//! - **Overhead without end.** Interim responses, chunk extensions, leading zeros of chunk sizes and trailers carry
//!   nothing that is passed on. The bytes read and not yet passed on are counted ([`IoState`]), and too many are an
//!   error, which hyper reports as the error of the exchange.
//! - **Early answers.** A failed write does not fail the exchange: see [`Http1Io`].
//! - **Stale connections.** The first read before a request on a reused connection asks the socket itself whether it is
//!   silent, so that the end of the connection is not taken for the end of the response.
//!
//! Sizes of heads and numbers of fields are hyper's to check, with limits set in `connection.rs`.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::io_state::IoState;
use crate::{limit::Permit, upstream::connect::Io};

/// Bytes that are read in one turn of a task before other tasks run.
///
/// hyper takes some bytes one by one, those of chunk sizes, at about 20 ns each: a turn of nothing else takes 5 ms.
const SLICE: usize = 256 * 1024;

/// Bytes that a read counts as at least, so that many small reads do not take longer than a few large ones.
const READ: usize = 4 * 1024;

/// The stream under an HTTP/1 connection.
///
/// A server may answer before it has read the whole request, and close: a 413, a 401. The next write then fails, while
/// the answer waits to be read. hyper would report the failed write, and the answer would be lost. So from the first
/// failure on, writes are discarded, and what the server sent, or the end of the connection, decides the exchange. The
/// connection is not reused. A tunnel is excepted, since it has no answer to wait for.
#[derive(Debug)]
pub(super) struct Http1Io {
    /// The socket, with TLS where there is any. Declared before `_permit`, and so closed before the permit is returned.
    io: Io,
    /// What is shared with the owner of the connection.
    state: Arc<IoState>,
    /// Whether a write has failed, so that writes are discarded: the endpoint no longer reads.
    deaf: bool,
    /// Bytes left to read in this turn.
    slice: usize,
    /// The most bytes that may be read without any of them being passed on.
    max_unpassed: usize,
    /// The place among the open connections, held for as long as the socket is open, whether as a connection or as a
    /// tunnel.
    _permit: Option<Permit>,
}

impl Http1Io {
    /// Wraps `io`. `max_unpassed` is in bytes.
    pub(super) fn new(
        io: Io,
        state: Arc<IoState>,
        max_unpassed: usize,
        permit: Option<Permit>,
    ) -> Self {
        Self {
            io,
            state,
            deaf: false,
            slice: SLICE,
            max_unpassed,
            _permit: permit,
        }
    }

    /// Performs a write of `len` bytes, or pretends to once a write has failed.
    ///
    /// A failed write marks the connection as spent, and succeeds toward hyper unless the stream is a tunnel.
    fn write(
        &mut self,
        len: usize,
        write: impl FnOnce(Pin<&mut Io>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let is_tunnel = self.state.is_tunnel();
        if self.deaf && !is_tunnel {
            return Poll::Ready(Ok(len));
        }
        let written = write(Pin::new(&mut self.io));
        if let Poll::Ready(Err(error)) = &written {
            self.state.spend();
            if !is_tunnel {
                tracing::debug!(%error, "the endpoint no longer reads");
                self.deaf = true;
                return Poll::Ready(Ok(len));
            }
        }
        written
    }

    /// Performs the read that hyper makes right before it writes a request to a connection that was used before.
    ///
    /// What has arrived by then is no answer to that request, and neither is the end of the connection. RFC 9112 9.3.1:
    /// "Connections can be closed at any time, with or without intention." The runtime may not have been notified of it
    /// yet, so the socket is asked by a `peek`. With the error hyper ends the connection without taking the request,
    /// which returns as unsent.
    fn poll_read_before_request(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_pending() && !self.io.is_silent() {
            let error = "the endpoint sent something, or closed, before it was asked";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        read
    }
}

impl AsyncRead for Http1Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.state.take_asking() {
            return this.poll_read_before_request(cx, buf);
        }
        if this.slice == 0 {
            this.slice = SLICE;
            cx.waker().wake_by_ref();
            // Yields to other tasks. The wake-up makes sure that reading continues although the socket has not become
            // ready anew.
            return Poll::Pending;
        }
        if this.state.unpassed() > this.max_unpassed {
            let error = "the endpoint sends interim responses or chunk framing without end";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        let len = buf.filled().len() - before;
        if read.is_pending() {
            this.slice = SLICE;
        } else {
            this.slice = this.slice.saturating_sub(len.max(READ));
            this.state.has_read(len);
        }
        read
    }
}

impl AsyncWrite for Http1Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(buf.len(), |io| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A request without a body is a single buffer, and `send` costs a socket 0.2 us less than `writev`.
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        let len = bufs.iter().map(|buf| buf.len()).sum();
        self.write(len, |io| io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(0, |io| io.poll_flush(cx).map_ok(|()| 0))
            .map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
