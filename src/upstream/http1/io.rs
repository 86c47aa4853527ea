//! The stream under an HTTP/1 connection: what an endpoint may send is bounded here, since hyper reads as long as
//! there is something to read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::io_state::IoState;
use crate::{limit::Permit, upstream::connect::Io};

/// How much is read in one go before the thread's other tasks get their turn. Bytes that hyper takes one by one, as
/// those of a chunk's size, keep the thread for 20 ns each: 5 ms in all.
const SLICE: usize = 256 * 1024;

/// What a read counts for at least, so that many small ones do not take longer than a few large ones.
const READ: usize = 4 * 1024;

/// A server may answer before it has read the whole request, and close: a 413, a 401. Our next write then fails, with
/// the answer waiting to be read. hyper would report the write, and the answer would be lost; so from the first failure
/// on, writes go nowhere, and what the server said, or the end of the connection, decides.
#[derive(Debug)]
pub(super) struct Http1Io {
    io: Io,
    state: Arc<IoState>,
    deaf: bool,
    /// What is left of the slice.
    slice: usize,
    /// The most that may be read without anything of it being passed on.
    max_unpassed: usize,
    /// Held while the socket is open, as a connection or as a tunnel.
    _permit: Option<Permit>,
}

impl Http1Io {
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

    /// The read that hyper makes right before it writes a request to a connection that was used before. What has come
    /// by now is no answer to that request, and neither is the end of the connection. The runtime may not have heard
    /// of it yet, so the socket itself is asked.
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
        // A request without a body is one buffer, and `send` costs a socket 0.2 us less than `writev`.
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
