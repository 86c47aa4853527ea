//! An HTTP/1 connection to an endpoint.
//!
//! See the [module docs](super) for what drives it when. This file has the states of a connection between exchanges:
//!
//! - *Unused*: nothing has been sent.
//! - *In use*: an [exchange](super::exchange) has taken it, and its response body has it next.
//! - *Idle*: the exchange is over and [`is_reusable`](Http1::is_reusable) returned `true`. The reaper is woken by
//!   whatever happens on the socket, and the exchange that takes it next asks the socket once more.
//! - *Spent*: it takes no other request, and closes when its exchange is over.
//!
//! Dropping an [`Http1`] closes its socket at once, in every state.

use std::{
    io,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
    pin::Pin,
    sync::Weak,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::Method;
use http_body::Frame;
use tokio::{
    io::{AsyncRead, ReadBuf},
    runtime,
    time::Instant,
};

use super::{
    chunked::Decoded,
    decoder::Decoder,
    error::{Http1Error, Received},
    read_buffer::ReadBuffer,
    response_head::{HeadParser, ResponseHead, ResponseLength},
    upload::Upload,
    writer::Writer,
};
use crate::{
    body::Body,
    limit::Permit,
    record::ClientConnection,
    telemetry::CloseCause,
    upstream::{
        bounds::MessageBounds,
        connect::Io,
        connection_counts::CountedConnection,
        lease::{Home, Lease},
    },
};

/// A connection, idle or in use.
///
/// Boxed for as long as it lives, since it moves between the pool, the request's future and the response body.
pub(in crate::upstream) struct Http1(Box<Connection>);

/// The contents of an [`Http1`].
pub(in crate::upstream) struct Connection {
    /// The socket, with TLS where there is any. Declared before `permit`, and so closed before that is returned.
    io: Io,
    /// What has been read and not been passed on.
    buffer: ReadBuffer,
    /// What is yet to be written.
    writer: Writer,
    parser: HeadParser,
    /// What is left of the response body.
    decoder: Decoder,
    /// What is left of the request body.
    upload: Upload,
    /// Limits of the messages that are received.
    bounds: MessageBounds,
    /// Whether no other request may be sent. Never reset.
    spent: bool,
    /// Whether a request has been sent.
    used: bool,
    /// The only client connection whose requests may be sent here, once the connection has been authenticated. See
    /// `auth.rs`.
    owner: Option<ClientConnection>,
    /// The runtime whose I/O driver watches the socket.
    runtime: runtime::Id,
    /// When the connection takes no more requests: see `ClientBuilder::max_lifetime`. `None` means never.
    expires: Option<Instant>,
    /// The reaper's waker, registered while the connection is idle.
    keeper: Waker,
    /// The pool that the connection returns to. Weak, as the pool holds its idle connections.
    home: Weak<dyn Home<Http1>>,
    /// Counts the connection as open.
    open: CountedConnection,
    /// The place among the open connections.
    permit: Option<Permit>,
}

impl Http1 {
    /// Makes a connection over `io`, with the limits `bounds`. HTTP/1 has no handshake.
    ///
    /// `keeper` is woken by events on the socket while the connection is idle, and `home` receives the connection when
    /// an exchange is over.
    pub(in crate::upstream) fn new(
        io: Io,
        lease: Lease,
        keeper: Waker,
        home: Weak<dyn Home<Self>>,
        bounds: MessageBounds,
    ) -> Self {
        let Lease {
            runtime,
            expires,
            permit,
            open,
        } = lease;
        Self(Box::new(Connection {
            io,
            buffer: ReadBuffer::default(),
            writer: Writer::default(),
            parser: HeadParser::new(bounds),
            decoder: Decoder::Exact(0),
            upload: Upload::Ended,
            bounds,
            spent: false,
            used: false,
            owner: None,
            runtime,
            expires,
            keeper,
            home,
            open,
            permit,
        }))
    }

    /// Returns whether the connection has reached the end of its life.
    pub(in crate::upstream) fn has_expired(&self) -> bool {
        let expires = self.expires;
        expires.is_some_and(|expires| expires <= Instant::now())
    }

    /// Returns whether a connection whose exchange is over can take another, and registers the reaper's waker if so.
    ///
    /// It cannot if it has expired; if it is spent, by a failed write, an upgrade, a response after which it closes, or
    /// the authentication of an unknown client; while an exchange is not complete; or if anything has arrived that
    /// belongs to no response, the end of the connection included.
    pub(in crate::upstream) fn is_reusable(&mut self) -> bool {
        let is_over = self.is_between_exchanges() && !self.writer.is_deaf();
        if self.spent || !is_over || self.has_expired() {
            return false;
        }
        let Connection { io, keeper, .. } = &mut *self.0;
        is_quiet(io, &mut Context::from_waker(keeper))
    }

    /// Returns whether nothing is in progress and nothing is left over.
    fn is_between_exchanges(&self) -> bool {
        self.decoder.has_ended() && !self.is_still_sending() && self.buffer.bytes().is_empty()
    }

    /// Returns whether the whole request body has been taken, be it written or not.
    pub(super) fn has_uploaded(&self) -> bool {
        self.upload.has_ended()
    }

    /// Returns whether some of the request has not been written.
    pub(in crate::upstream) fn is_still_sending(&self) -> bool {
        !self.upload.has_ended() || !self.writer.is_empty()
    }

    /// Gives back the memory that an idle connection does not need.
    pub(in crate::upstream) fn rest(&mut self) {
        self.buffer.rest();
        self.writer.rest();
    }

    /// Returns the runtime on which the connection was made, and on which alone it can be polled.
    pub(in crate::upstream) fn runtime(&self) -> runtime::Id {
        self.runtime
    }

    /// Returns when the connection takes no more requests, or `None` if never.
    pub(in crate::upstream) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// Returns that the connection has reached the end of its life, as a reason to close it. `None` if it has not.
    pub(in crate::upstream) fn expiry(&self) -> Option<CloseCause> {
        self.has_expired().then_some(CloseCause::MaxLifetime)
    }

    /// Notes whether the connection waits for a request, for metrics.
    pub(in crate::upstream) fn set_idle(&self, idle: bool) {
        self.open.set_idle(idle);
    }

    /// Notes why the connection is about to be closed, for metrics.
    pub(in crate::upstream) fn closes(&self, cause: CloseCause) {
        self.open.closes(cause);
    }

    /// Returns the only client connection whose requests may be sent here, or `None` if the connection serves any
    /// client.
    pub(in crate::upstream) fn owner(&self) -> Option<ClientConnection> {
        self.owner
    }

    /// Returns the connection to its pool, or closes it if the pool is gone. Called when the exchange is over.
    pub(super) fn go_home(mut self) {
        // A large buffer is for a transfer, not for waiting.
        if self.buffer.is_large() {
            self.buffer.rest();
        }
        if self.writer.is_large() {
            self.writer.rest();
        }
        if let Some(home) = self.home.upgrade() {
            home.take_back(self);
        }
    }

    /// Takes the connection apart, for a tunnel: the stream, what was read of the other protocol already, and what is
    /// held for as long as the stream is open.
    pub(super) fn into_parts(self) -> (Io, Bytes, (CountedConnection, Option<Permit>)) {
        let Connection {
            io,
            mut buffer,
            open,
            permit,
            ..
        } = *self.0;
        (io, buffer.take(usize::MAX), (open, permit))
    }
}

impl Deref for Http1 {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Http1 {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

impl Connection {
    /// Returns whether the endpoint has sent nothing, and has not closed, before the connection is used.
    ///
    /// What has arrived by now is no answer to the request that is about to be written, and neither is the end of the
    /// connection. RFC 9112 9.3.1: "Connections can be closed at any time, with or without intention." The runtime may
    /// not have been notified of it yet, so the socket of a connection that was used before is asked, too.
    ///
    /// Registers the task of `cx`.
    pub(super) fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        is_quiet(&mut self.io, cx) && (!self.used || self.io.is_silent())
    }

    /// Begins an exchange: returns the buffer to write the request head to. `upload` is what follows the head.
    pub(super) fn begin(&mut self, upload: Upload) -> &mut Vec<u8> {
        (self.used, self.upload) = (true, upload);
        self.writer.buffer()
    }

    /// Sends as much of the request as the socket takes. Ready when all of it has been written.
    ///
    /// # Errors
    ///
    /// Those of [`Upload::poll`].
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
            let received = match buffer.bytes().is_empty() {
                true => Received::Nothing,
                false => Received::Some,
            };
            match ready!(buffer.poll_fill(io, cx)) {
                Ok(0) => return Poll::Ready(Err(Http1Error::Closed(received))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(Http1Error::Read(error, received))),
            }
        }
    }

    /// Begins to receive a response body.
    pub(super) fn begin_body(&mut self, length: ResponseLength) {
        self.decoder = Decoder::new(length, self.bounds);
    }

    /// Returns what is left of the response body.
    pub(super) fn body(&self) -> &Decoder {
        &self.decoder
    }

    /// Receives the next frame of the response body, or `None` at its end. Writes what is left of the request
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// The connection has ended too early, or what was received is invalid or too large.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        if !self.writer.is_empty() {
            // Whether it is ready or not, the response goes on.
            let _ = self.poll_flush(cx);
        }
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
                    return Poll::Ready(Some(Err(Http1Error::Read(error, Received::Some))));
                }
            }
        }
    }

    /// Takes no more of the request body. The connection cannot be reused: its request has no end.
    pub(super) fn withhold_body(&mut self) {
        self.upload = Upload::Ended;
        self.spend();
    }

    /// Marks the connection as not reusable. The exchange in progress continues.
    pub(super) fn spend(&mut self) {
        self.spent = true;
    }

    /// Restricts the connection to the requests of one client connection, because it has been authenticated.
    ///
    /// With an unknown client (`None`) no later request can be known to be the same client's, so none is sent at all.
    pub(super) fn belongs_to(&mut self, owner: Option<ClientConnection>) {
        match owner {
            Some(_) => self.owner = owner,
            None => self.spend(),
        }
    }
}

/// Returns whether there is nothing to read, not even the end of the stream. Registers the task of `cx` for when there
/// is.
fn is_quiet(io: &mut Io, cx: &mut Context<'_>) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    let mut byte = ReadBuf::uninit(&mut byte);
    let read: Poll<io::Result<()>> = Pin::new(io).poll_read(cx, &mut byte);
    read.is_pending()
}
