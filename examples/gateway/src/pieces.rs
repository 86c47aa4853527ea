//! A stream for tests and fuzz targets, from which a few bytes at a time can be read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that arrive in pieces.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    left: &'a [u8],
    piece: usize,
}

impl<'a> Pieces<'a> {
    /// Returns a stream of `bytes`, of which no read gets more than `piece`.
    pub(crate) fn new(bytes: &'a [u8], piece: usize) -> Self {
        Self { left: bytes, piece }
    }

    /// Returns how many bytes have not been read.
    pub(crate) fn left(&self) -> usize {
        self.left.len()
    }
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.piece.min(self.left.len()).min(buf.remaining());
        let (now, later) = self.left.split_at(len);
        buf.put_slice(now);
        self.left = later;
        Poll::Ready(Ok(()))
    }
}
