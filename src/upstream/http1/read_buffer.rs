//! What has been read from a connection and not been passed on.
//!
//! Heads and bodies are passed on as slices of the buffer, without a copy. When all slices of it are gone, the buffer
//! begins anew; otherwise another one is allocated. How much is read at once follows the endpoint: twice as much after
//! a read that found more than there was room for, and less again when little arrives.

use std::{
    io,
    pin::pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use crate::upstream::connect::Io;

/// Bytes that are read at once at first. A head and a small body fit.
const SMALLEST: usize = 8 * 1024;

/// The most bytes that are read at once, and so that are ahead of the reader of a body.
const LARGEST: usize = 256 * 1024;

/// Reads in one turn of a task before other tasks run.
///
/// The runtime's sockets give way by themselves. The stream of a user's connector need not, and an endpoint could keep
/// the thread by sending without a pause.
const TURN: u8 = 64;

/// What has been read from a connection and not been passed on.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    bytes: BytesMut,
    /// The room that the next read needs.
    next: usize,
    /// The largest room that was made, which is about what is held.
    held: usize,
    /// Reads since the last one that found nothing.
    turn: u8,
}

impl Default for ReadBuffer {
    /// Allocates nothing before the first read.
    fn default() -> Self {
        Self {
            bytes: BytesMut::new(),
            next: SMALLEST,
            held: 0,
            turn: 0,
        }
    }
}

impl ReadBuffer {
    /// Reads once, and returns the number of bytes that were added: 0 at the end of the stream.
    ///
    /// # Cancel safety
    ///
    /// What was read is in the buffer.
    pub(super) fn poll_fill(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.turn == TURN {
            self.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let room = self.bytes.capacity() - self.bytes.len();
        // A buffer that is nearly full is not worth a system call.
        if room < self.next / 4 {
            self.bytes.reserve(self.next);
            self.held = self.held.max(self.next);
        }
        let room = self.bytes.capacity() - self.bytes.len();
        let read = pin!(io.read_buf(&mut self.bytes)).poll(cx);
        match &read {
            Poll::Pending => self.turn = 0,
            Poll::Ready(read) => {
                self.turn += 1;
                let len = *read.as_ref().unwrap_or(&0);
                if len == room {
                    self.next = (self.next * 2).min(LARGEST);
                } else if len < self.next / 4 {
                    self.next = (self.next / 2).max(SMALLEST);
                }
            }
        }
        read
    }

    /// Returns what is there.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the first `len` bytes out, or as many as there are.
    pub(super) fn take(&mut self, len: usize) -> Bytes {
        self.bytes.split_to(len.min(self.bytes.len())).freeze()
    }

    /// Drops the first `len` bytes, or as many as there are.
    pub(super) fn skip(&mut self, len: usize) {
        // Cheaper than `take`, as nothing has to be shared.
        self.bytes.advance(len.min(self.bytes.len()));
    }

    /// Gives the memory back if nothing is in it, and if more than `keep` bytes are held.
    pub(super) fn shrink(&mut self, keep: usize) {
        if self.bytes.is_empty() && self.held > keep {
            *self = Self::default();
        }
    }

    /// Returns a buffer that `bytes` have been read into.
    #[cfg(test)]
    pub(super) fn with(bytes: impl AsRef<[u8]>) -> Self {
        let mut buffer = Self::default();
        buffer.add(bytes);
        buffer
    }

    /// Appends `bytes` as if they had been read.
    #[cfg(test)]
    pub(super) fn add(&mut self, bytes: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(bytes.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::upstream::connect::Io;

    async fn fill(buffer: &mut ReadBuffer, io: &mut Io) -> usize {
        std::future::poll_fn(|cx| buffer.poll_fill(io, cx))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn it_reads_more_at_once_while_more_arrives_and_less_again() {
        let (io, mut other) = Io::in_memory(1024 * 1024);
        let (mut io, mut buffer) = (io, ReadBuffer::default());
        other.write_all(&vec![1; 600 * 1024]).await.unwrap();
        let mut sizes = Vec::new();
        for _ in 0..7 {
            let len = fill(&mut buffer, &mut io).await;
            sizes.push(len / 1024);
            drop(buffer.take(len));
        }
        assert_eq!(sizes, [8, 16, 32, 64, 128, 256, 96]);
        other.write_all(b"a").await.unwrap();
        assert_eq!(fill(&mut buffer, &mut io).await, 1);
        assert_eq!(buffer.next, LARGEST / 2);
        assert_eq!(buffer.take(9), "a");
        buffer.shrink(LARGEST);
        assert_eq!(buffer.held, LARGEST);
        buffer.shrink(SMALLEST);
        assert_eq!((buffer.bytes.capacity(), buffer.next), (0, SMALLEST));
    }

    #[tokio::test]
    async fn what_is_taken_out_stays_as_it_was() {
        let (mut io, mut other) = Io::in_memory(1024);
        let mut buffer = ReadBuffer::default();
        other.write_all(b"abc").await.unwrap();
        fill(&mut buffer, &mut io).await;
        let taken = buffer.take(2);
        buffer.skip(1);
        other.write_all(b"def").await.unwrap();
        fill(&mut buffer, &mut io).await;
        assert_eq!((&taken[..], buffer.bytes()), (&b"ab"[..], &b"def"[..]));
        drop(other);
        assert_eq!(fill(&mut buffer, &mut io).await, 0);
    }
}
