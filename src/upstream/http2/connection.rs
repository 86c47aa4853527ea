//! An HTTP/2 connection: handshake, the task that drives it, and what the pool asks of it.
//!
//! The [module docs](super) list the tasks and the states.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::{
    io::Http2Io,
    settings::{Settings, UNKNOWN},
    shared::{Place, Shared},
    spawn::Spawn,
    stream::Stream,
    upload::Uploads,
};
use crate::{
    body::Body,
    error::{Error, ErrorKind},
    limit::Permit,
    upstream::{bounds::MessageBounds, connect::Io, lease::Lease},
};

/// A handle of an open connection, as the pool keeps it and each stream is made from it.
///
/// The connection closes when the last handle and the last stream are gone: h2 sends a GOAWAY and ends, and if that
/// takes longer than 1 s, the socket's task is aborted.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Http2 {
    /// Takes requests. Clones share the connection; the dispatch task ends with the last of them.
    sender: SendRequest<Body>,
    /// What the handles, the streams and the dispatch task share.
    shared: Arc<Shared>,
}

impl Http2 {
    /// Performs the handshake, and spawns the tasks that drive the connection on the current runtime.
    ///
    /// Waits for the server's first SETTINGS, which hyper does not: without them it is not known how many requests may
    /// share the connection, and those that wait for it would pile up on it. The caller sets the deadline.
    ///
    /// # Errors
    ///
    /// `Connect`, if the connection fails or closes before the SETTINGS.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, 1 s later at the latest.
    pub(in crate::upstream) async fn handshake(
        io: Io,
        lease: Lease,
        settings: Settings,
        bounds: MessageBounds,
    ) -> Result<Self, Error> {
        let uploads = Arc::new(Uploads::new(Instant::now()));
        let spawn = Spawn::new(uploads.clone());
        // Dropped with the future, which ends the task if the handshake is given up.
        let task = spawn.socket_task();
        let Lease {
            expires,
            permit,
            open,
            ..
        } = lease;
        let waiters = permit.as_ref().map(Permit::waiters);
        let io = Http2Io::new(io, permit, open);
        let builder = settings.builder(spawn.clone(), bounds);
        let unreachable = |error| Error::new(ErrorKind::Connect).with(error);
        let handshake = builder.handshake(TokioIo::new(io)).await;
        let (sender, mut driver) = handshake.map_err(unreachable)?;
        loop {
            let woken = spawn.stirred().notified();
            // hyper tells nothing when SETTINGS arrive, but its limit of streams changes then. `woken` exists before
            // the poll, so a change between the poll and the wait is not lost.
            if let Poll::Ready(ended) =
                poll_fn(|cx| Poll::Ready(Pin::new(&mut driver).poll(cx))).await
            {
                let closed = Error::new(ErrorKind::Connect).with("closed before its SETTINGS");
                return Err(ended.map_or_else(unreachable, |()| closed));
            }
            if driver.current_max_send_streams() != UNKNOWN {
                break;
            }
            woken.await;
        }
        spawn.settle();
        let connect = driver.is_extended_connect_protocol_enabled();
        let shared = Shared::new(&settings, bounds, uploads, expires, waiters, task, connect);
        let shared = Arc::new(shared);
        shared.allow(driver.current_max_send_streams());
        let watched = shared.clone();
        // The dispatch task. It also publishes the limit of streams, which the server may change at any time, whenever
        // it is polled.
        tokio::spawn(async move {
            let ended = poll_fn(|cx| {
                let polled = Pin::new(&mut driver).poll(cx);
                watched.allow(driver.current_max_send_streams());
                polled
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "HTTP/2 connection ended");
            }
        });
        Ok(Self { sender, shared })
    }

    /// Returns whether the connection takes new streams.
    ///
    /// It does not once hyper has closed it, once it has expired, or if it is suspect and no stream is left that could
    /// clear the suspicion by an answer.
    pub(in crate::upstream) fn is_open(&self) -> bool {
        let given_up = self.is_suspect() && self.streams() == 0;
        !given_up
            && !self.sender.is_closed()
            && self
                .shared
                .expires
                .is_none_or(|expires| expires > Instant::now())
    }

    /// Returns when the handshake was complete.
    pub(in crate::upstream) fn opened(&self) -> Instant {
        self.shared.opened
    }

    /// Returns whether another stream would neither wait for those that are open nor be in their way.
    pub(in crate::upstream) fn has_room(&self) -> bool {
        self.shared.has_room()
    }

    /// Returns whether the server may be gone without a word.
    pub(in crate::upstream) fn is_suspect(&self) -> bool {
        self.shared.is_suspect()
    }

    /// Returns how many streams are open, those that wait for a place at the server included.
    pub(in crate::upstream) fn streams(&self) -> usize {
        self.shared.streams()
    }

    /// Returns when the connection will have idled for `idle_timeout` or reached the end of its life. `None` while it
    /// is in use and has no end of life.
    pub(in crate::upstream) fn due(&self, idle_timeout: Duration) -> Option<Instant> {
        self.shared.due(idle_timeout)
    }

    /// Reserves a place for one request, counted from now on.
    pub(in crate::upstream) fn stream(&self) -> Stream {
        Stream::new(self.sender.clone(), Place::new(self.shared.clone()))
    }
}
