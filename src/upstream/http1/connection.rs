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
    sync::Weak,
    task::{Context, Waker},
};

use bytes::Bytes;
use tokio::{runtime, time::Instant};

use super::{upload::BodyUpload, wire::Wire};
use crate::{
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

/// Bytes of a buffer that a connection keeps for its next exchange. More is for a large transfer.
const KEPT: usize = 8 * 1024;

/// A connection, idle or in use.
///
/// Boxed for as long as it lives, since it moves between the pool, the request's future and the response body.
pub(in crate::upstream) struct Http1(Box<Connection>);

/// The contents of an [`Http1`].
struct Connection {
    /// The stream. Declared before `permit`, and so closed before that is returned.
    wire: Wire,
    /// Whether no other request may be sent. Never reset.
    spent: bool,
    /// Whether a request has been sent.
    used: bool,
    /// The only client connection whose requests may be sent here, once the connection has been authenticated
    /// (`auth.rs`), or from the beginning if that was a PROXY header.
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
            wire: Wire::new(io, bounds),
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
        let expires = self.0.expires;
        expires.is_some_and(|expires| expires <= Instant::now())
    }

    /// Returns whether a connection whose exchange is over can take another, and registers the reaper's waker if so.
    ///
    /// It cannot if it has expired; if it is spent, by a failed write, an upgrade, a response after which it closes, or
    /// the authentication of an unknown client; while an exchange is not complete; or if anything has arrived that
    /// belongs to no response, the end of the connection included.
    pub(in crate::upstream) fn is_reusable(&mut self) -> bool {
        if self.0.spent || !self.0.wire.is_between_exchanges() || self.has_expired() {
            return false;
        }
        let Connection { wire, keeper, .. } = &mut *self.0;
        wire.is_quiet(&mut Context::from_waker(keeper))
    }

    /// Returns whether the endpoint has sent nothing, and has not closed, before the connection is used.
    ///
    /// What has arrived by now is no answer to the request that is about to be written, and neither is the end of the
    /// connection. RFC 9112 9.3.1: "Connections can be closed at any time, with or without intention." The runtime may
    /// not have been notified of it yet, so the socket of a connection that was used before is asked, too.
    ///
    /// Registers the task of `cx`.
    pub(super) fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        self.0.wire.is_quiet(cx) && (!self.0.used || self.0.wire.is_silent())
    }

    /// Begins an exchange: returns the buffer to write the request head to. `upload` is what follows the head.
    pub(super) fn begin(&mut self, upload: BodyUpload) -> &mut Vec<u8> {
        self.0.used = true;
        self.0.wire.begin(upload)
    }

    /// Returns the stream with what is on the way.
    pub(super) fn wire(&self) -> &Wire {
        &self.0.wire
    }

    /// Returns the stream with what is on the way, to send and receive.
    pub(super) fn wire_mut(&mut self) -> &mut Wire {
        &mut self.0.wire
    }

    /// Marks the connection as not reusable. The exchange in progress continues.
    pub(super) fn spend(&mut self) {
        self.0.spent = true;
    }

    /// Restricts the connection to the requests of one client connection, because the endpoint takes all that it
    /// receives here for this client's.
    ///
    /// With an unknown client (`None`) no later request can be known to be the same client's, so none is sent at all.
    pub(in crate::upstream) fn belongs_to(&mut self, owner: Option<ClientConnection>) {
        match owner {
            Some(_) => self.0.owner = owner,
            None => self.spend(),
        }
    }

    /// Gives back the memory that an idle connection does not need.
    pub(in crate::upstream) fn free_memory(&mut self) {
        self.0.wire.shrink(0);
    }

    /// Returns the runtime on which the connection was made, and on which alone it can be polled.
    pub(in crate::upstream) fn runtime(&self) -> runtime::Id {
        self.0.runtime
    }

    /// Returns when the connection takes no more requests, or `None` if never.
    pub(in crate::upstream) fn expires(&self) -> Option<Instant> {
        self.0.expires
    }

    /// Returns that the connection has reached the end of its life, as a reason to close it. `None` if it has not.
    pub(in crate::upstream) fn expiry(&self) -> Option<CloseCause> {
        self.has_expired().then_some(CloseCause::MaxLifetime)
    }

    /// Notes whether the connection waits for a request, for metrics.
    pub(in crate::upstream) fn set_idle(&self, idle: bool) {
        self.0.open.set_idle(idle);
    }

    /// Notes why the connection is about to be closed, for metrics.
    pub(in crate::upstream) fn closes(&self, cause: CloseCause) {
        self.0.open.closes(cause);
    }

    /// Returns the only client connection whose requests may be sent here, or `None` if the connection serves any
    /// client.
    pub(in crate::upstream) fn owner(&self) -> Option<ClientConnection> {
        self.0.owner
    }

    /// Returns the connection to its pool, or closes it if the pool is gone. Called when the exchange is over.
    pub(in crate::upstream) fn go_home(mut self) {
        self.0.wire.shrink(KEPT);
        if let Some(home) = self.0.home.upgrade() {
            home.take_back(self);
        }
    }

    /// Takes the connection apart, for a tunnel: the stream, what was read of the other protocol already, and what is
    /// held for as long as the stream is open.
    pub(super) fn into_parts(self) -> (Io, Bytes, (CountedConnection, Option<Permit>)) {
        let Connection {
            wire, open, permit, ..
        } = *self.0;
        let (io, read_ahead) = wire.into_parts();
        (io, read_ahead, (open, permit))
    }
}
