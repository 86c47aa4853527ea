//! What HTTP is spoken on: a socket, or TLS on a socket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::{delegate_io::delegate_io, raw_stream::RawStream};

/// The stream of a connection.
///
/// One type for all of them, so that what serves HTTP is compiled once. Without TLS there is nothing to allocate.
#[derive(Debug)]
pub(crate) enum ClientStream {
    /// Without TLS.
    Raw(RawStream),
    /// With TLS. Boxed: it is ten times as large.
    Tls(Box<TlsStream<RawStream>>),
}

/// What a look at a stream has found that is not being read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Peeked {
    /// The client has closed its sending half.
    End,
    /// Something has arrived.
    Bytes,
}

delegate_io!(ClientStream { Raw, Tls });

impl ClientStream {
    /// Returns the socket.
    pub(super) fn raw(&self) -> &RawStream {
        match self {
            Self::Raw(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Writes what fits at once, and returns how much that was. The task is not woken for the rest.
    ///
    /// # Errors
    ///
    /// Returns the error of the socket if the other end is gone.
    pub(super) fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let cx = &mut Context::from_waker(Waker::noop());
        let written = match Pin::new(&mut *self).poll_write(cx, bytes) {
            Poll::Ready(result) => result?,
            Poll::Pending => 0,
        };
        // What TLS has taken is as good as written.
        let _ = Pin::new(self).poll_flush(cx);
        Ok(written)
    }

    /// Says the end of what is sent, if TLS has one to say, as far as that fits at once. Without it, the client could
    /// not tell this end from an attack that cuts the connection (RFC 8446 6.1).
    pub(super) fn end_now(&mut self) {
        if let Self::Tls(stream) = self {
            let cx = &mut Context::from_waker(Waker::noop());
            // An error is one of a connection that is being closed.
            let _ = Pin::new(stream).poll_shutdown(cx);
        }
    }

    /// Looks whether something has arrived that is not being read. A byte that was read to find out is put in front of
    /// what is read next, in `ahead`.
    ///
    /// # Errors
    ///
    /// Returns the error of the stream.
    pub(super) fn poll_peek(
        &mut self,
        cx: &mut Context<'_>,
        ahead: &mut Bytes,
    ) -> Poll<io::Result<Peeked>> {
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        let read = match self {
            Self::Raw(RawStream::Tcp(stream)) => stream.poll_peek(cx, &mut buf).map_ok(|_| ()),
            // The end of TLS is a message among others, and a Unix socket cannot be peeked at.
            stream => Pin::new(stream).poll_read(cx, &mut buf).map_ok(|()| {
                *ahead = Bytes::copy_from_slice(buf.filled());
            }),
        };
        read.map_ok(|()| match buf.filled().is_empty() {
            true => Peeked::End,
            false => Peeked::Bytes,
        })
    }
}
