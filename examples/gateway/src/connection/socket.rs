//! A client's socket, as hyper reads and writes it.
//!
//! [`Socket`] passes everything on, and does what hyper does not while it waits for a response: it records what is read
//! and what the client does not take, and it notices an HTTP/1 client that leaves.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::{
    activity::Activity,
    client_stream::{ClientStream, Peeked},
    half_closed::HalfClosed,
    held_place::HeldPlace,
};

/// How long the rest of a refused request is read after its response.
const READ_ON: Duration = Duration::from_secs(2);

/// Records in [`Activity`] what is read and what is not taken, and notices that an HTTP/1 client leaves while it waits
/// for its response.
///
/// hyper is told to leave a client its half of the connection (`half_close`). It then does not read until it has
/// answered, and would not notice a client that is gone; this does: see [`HalfClosed`].
pub(super) struct Socket {
    stream: ClientStream,
    /// What was read to find out the version, or by hyper before a rest, or to find the end, and hyper has not read
    /// yet.
    ahead: Bytes,
    /// The error that came in the same read as the last bytes of `ahead`. It is reported after them.
    failed: Option<io::Error>,
    /// What the connection is doing.
    activity: Arc<Activity>,
    /// Whether the socket has to be watched between reads. HTTP/2 is always read.
    http1: bool,
    /// Whether it can be watched now.
    reading: Reading,
    /// Whether the last write was pending, so that the activity is told of changes only.
    blocked: bool,
    /// Set once the client has closed its sending half while hyper did not read.
    half_closed: Option<HalfClosed>,
    /// The place among the connections, for as long as the socket is open. A tunnel outlives the HTTP on it.
    _place: HeldPlace,
}

/// Whether the socket can be watched between two reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// hyper waits for bytes, and is told of the end.
    Awaited,
    /// hyper does not read.
    Paused,
    /// hyper does not read, and bytes have arrived, behind which an end would not show.
    Unread,
    /// The end has been read.
    Ended,
}

impl Socket {
    /// Returns the socket of a connection whose first bytes are `ahead`.
    pub(super) fn new(
        stream: ClientStream,
        ahead: Bytes,
        http1: bool,
        activity: Arc<Activity>,
        place: HeldPlace,
    ) -> Self {
        Self {
            stream,
            ahead,
            failed: None,
            activity,
            http1,
            reading: Reading::Awaited,
            blocked: false,
            half_closed: None,
            _place: place,
        }
    }

    /// Writes what fits at once, and does not wait for the rest.
    pub(super) fn write_now(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_now(bytes);
    }

    /// Says the end of what is sent, as far as that fits at once. The connection is dropped next.
    pub(super) fn end_now(&mut self) {
        self.stream.end_now();
    }

    /// Takes back what has been read and not been used, to be read again.
    pub(super) fn put_back(&mut self, read: &[u8]) {
        // A copy, so that the buffer they are in can be freed.
        self.ahead = Bytes::copy_from_slice(read);
    }

    /// Waits for something to read.
    ///
    /// # Errors
    ///
    /// Returns the error of the socket.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self.ahead.is_empty() {
            true => self.stream.raw().readable().await,
            false => Ok(()),
        }
    }

    /// Closes a socket whose last response has been written.
    ///
    /// A socket that is closed with bytes unread sends a reset, for which the client's system may drop the response. So
    /// what has arrived, the rest of a head or body that was refused, is read for a while (RFC 9112 9.6).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket at once.
    pub(super) async fn close(mut self) {
        self.end_now();
        if !matches!(self.skip(), Ok(1..)) {
            return;
        }
        let rest = async {
            while self.stream.raw().readable().await.is_ok() {
                match self.skip() {
                    Ok(1..) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    _ => return,
                }
            }
        };
        let _ = timeout(READ_ON, rest).await;
    }

    /// Reads what is there. The buffer is not in the future of the connection, which would be larger by it.
    fn skip(&self) -> io::Result<usize> {
        self.stream.raw().try_read(&mut [0; 4096])
    }

    /// Looks for the end of what the client sends while hyper does not read.
    ///
    /// # Errors
    ///
    /// Returns an error if the client is gone. It ends the connection.
    fn watch(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.take_failure()?;
        if self.reading == Reading::Paused && self.ahead.is_empty() && self.half_closed.is_none() {
            match self.stream.poll_peek(cx, &mut self.ahead) {
                Poll::Pending => {}
                Poll::Ready(Ok(Peeked::End)) => {
                    let unanswered = self.activity.is_unanswered();
                    self.half_closed = Some(HalfClosed::new(&mut self.stream, unanswered)?);
                }
                Poll::Ready(Ok(Peeked::Bytes)) => self.reading = Reading::Unread,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        match &mut self.half_closed {
            Some(half_closed) => half_closed.watch(self.stream.raw(), cx),
            None => Ok(()),
        }
    }

    /// Reads what was read ahead, and what has arrived behind it: the byte of a look alone would make an upload one of
    /// single bytes.
    fn read_ahead(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) {
        let len = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead.split_to(len));
        if buf.remaining() == 0 {
            return;
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            self.failed = Some(error);
        }
    }

    /// Returns the error that was not reported with the bytes before it.
    fn take_failure(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Records whether the client takes what is written.
    fn written<T>(&mut self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let blocked = result.is_pending();
        if blocked != self.blocked {
            self.blocked = blocked;
            self.activity.set_blocked(blocked);
        }
        result
    }

    /// Returns how many of these bytes the client has already.
    fn sent_ahead(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.half_closed {
            Some(half_closed) => half_closed.take_sent(bytes),
            None => Ok(0),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled = buf.filled().len();
        if this.ahead.is_empty() {
            this.take_failure()?;
            this.reading = Reading::Awaited;
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        } else {
            this.read_ahead(cx, buf);
        }
        this.reading = match buf.filled().len() == filled {
            true => Reading::Ended,
            false => Reading::Paused,
        };
        if this.http1 {
            this.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sent = this.sent_ahead(buf)?;
        if sent > 0 {
            return Poll::Ready(Ok(sent));
        }
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.written(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = bufs.iter().find(|buf| !buf.is_empty());
        let sent = this.sent_ahead(first.map_or(&[], |buf| buf))?;
        if sent > 0 {
            return Poll::Ready(Ok(sent));
        }
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Watches the socket: hyper flushes whenever it is polled, after it has read and written what it can.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.http1 {
            this.watch(cx)?;
        }
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        match this.stream {
            // There was nothing to flush.
            ClientStream::Raw(_) => result,
            ClientStream::Tls(_) => this.written(result),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
