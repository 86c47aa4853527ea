//! The stream of an HTTP/1 connection, with what is on the way in both directions.
//!
//! [`Wire`] knows messages, and nothing of what happens between two of them: that is the connection's
//! (`connection.rs`).

use std::{
    future::{Future, poll_fn},
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Method;
use http_body::Frame;
use tokio::{
    io::{AsyncRead, ReadBuf},
    task::unconstrained,
};

use super::{
    chunked::Decoded,
    decoder::Decoder,
    error::{Arrival, Http1Error},
    read_buffer::ReadBuffer,
    response_head::{HeadParser, ResponseHead},
    response_length::ResponseLength,
    upload::BodyUpload,
    writer::Writer,
};
use crate::{
    body::Body,
    upstream::{bounds::MessageBounds, connect::Io},
};

/// A stream, and what is on the way in both directions.
pub(super) struct Wire {
    /// The socket, with TLS where there is any.
    io: Io,
    /// What has been read and not been passed on.
    buffer: ReadBuffer,
    /// What is yet to be written.
    writer: Writer,
    parser: HeadParser,
    /// What is left of the response body.
    decoder: Decoder,
    /// What is left of the request body.
    upload: BodyUpload,
    /// Limits of the messages that are received.
    bounds: MessageBounds,
}

impl Wire {
    /// Returns a wire on which nothing has been sent, with the limits `bounds`.
    pub(super) fn new(io: Io, bounds: MessageBounds) -> Self {
        Self {
            io,
            buffer: ReadBuffer::default(),
            writer: Writer::default(),
            parser: HeadParser::new(bounds),
            decoder: Decoder::Exact(0),
            upload: BodyUpload::Ended,
            bounds,
        }
    }

    /// Returns whether there is nothing to read, not even the end of the stream. Registers the task of `cx` for when
    /// there is.
    pub(super) fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let mut byte = ReadBuf::uninit(&mut byte);
        let io = &mut self.io;
        // A task that has used its budget would find every stream quiet.
        let read = unconstrained(poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, &mut byte)));
        pin!(read).poll(cx).is_pending()
    }

    /// Returns whether the operating system, too, has nothing to read. The runtime hears of it a moment later.
    pub(super) fn is_silent(&self) -> bool {
        self.io.is_silent()
    }

    /// Returns whether no message is in progress, nothing is left over, and no write has failed.
    pub(super) fn is_between_exchanges(&self) -> bool {
        self.decoder.has_ended()
            && !self.is_still_sending()
            && self.buffer.bytes().is_empty()
            && !self.writer.has_failed()
    }

    /// Returns whether some of the request has not been written.
    pub(super) fn is_still_sending(&self) -> bool {
        !self.upload.has_ended() || !self.writer.is_empty()
    }

    /// Begins a request: returns the buffer to write its head to. `upload` is what follows the head.
    pub(super) fn begin(&mut self, upload: BodyUpload) -> &mut Vec<u8> {
        self.upload = upload;
        self.writer.buffer()
    }

    /// Sends as much of the request as the socket takes. Ready when all of it has been written.
    ///
    /// # Errors
    ///
    /// Those of [`BodyUpload::poll`].
    pub(super) fn poll_upload(
        &mut self,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Http1Error>> {
        let Self {
            io, writer, upload, ..
        } = self;
        upload.poll(body, writer, io, cx)
    }

    /// Writes what has been taken from the request, and takes no more.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { io, writer, .. } = self;
        writer.poll_flush(io, cx)
    }

    /// Receives the next response head, which may be that of an interim response.
    ///
    /// # Errors
    ///
    /// The connection has ended, or what was received is invalid or too large.
    pub(super) fn poll_head(
        &mut self,
        method: &Method,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, Http1Error>> {
        let Self {
            io, buffer, parser, ..
        } = self;
        loop {
            if !buffer.bytes().is_empty() {
                if let Some(head) = parser.parse(buffer, method)? {
                    return Poll::Ready(Ok(head));
                }
            }
            let arrived = match buffer.bytes().is_empty() {
                true => Arrival::Nothing,
                false => Arrival::Part,
            };
            match ready!(buffer.poll_fill(io, cx)) {
                Ok(0) => return Poll::Ready(Err(Http1Error::Closed(arrived))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(Http1Error::Read(error, arrived))),
            }
        }
    }

    /// Begins to receive a response body.
    pub(super) fn begin_body(&mut self, length: ResponseLength) {
        self.decoder = Decoder::new(length, self.bounds);
    }

    /// Returns what is left of the response body.
    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Receives the next frame of the response body, or `None` at its end.
    ///
    /// # Errors
    ///
    /// The connection has ended too early, or what was received is invalid or too large.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        let Self {
            io,
            buffer,
            decoder,
            ..
        } = self;
        loop {
            match decoder.decode(buffer)? {
                Decoded::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Decoded::End => return Poll::Ready(None),
                Decoded::Nothing => {}
            }
            match ready!(buffer.poll_fill(io, cx)) {
                Ok(0) => decoder.close()?,
                Ok(_) => {}
                Err(error) => {
                    return Poll::Ready(Some(Err(Http1Error::Read(error, Arrival::Part))));
                }
            }
        }
    }

    /// Takes no more of the request body, which then has no end.
    pub(super) fn withhold_body(&mut self) {
        self.upload = BodyUpload::Ended;
    }

    /// Gives back the memory of buffers that hold more than `keep` bytes and are not in use.
    pub(super) fn shrink(&mut self, keep: usize) {
        self.buffer.shrink(keep);
        self.writer.shrink(keep);
        if keep == 0 {
            self.parser.shrink();
        }
    }

    /// Takes the wire apart: the stream, and what has been read ahead.
    pub(super) fn into_parts(mut self) -> (Io, Bytes) {
        (self.io, self.buffer.take(usize::MAX))
    }
}
