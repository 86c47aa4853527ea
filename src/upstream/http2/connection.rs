//! The connection itself, driven by a task of its own.

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

/// A connection. Its task ends when the last handle and the last stream are gone.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Http2 {
    sender: SendRequest<Body>,
    shared: Arc<Shared>,
}

impl Http2 {
    /// Waits for the server's first SETTINGS too: without them nobody knows how many requests may share the connection,
    /// and those that wait for it would pile up on it.
    pub(in crate::upstream) async fn handshake(
        io: Io,
        lease: Lease,
        settings: Settings,
        bounds: MessageBounds,
    ) -> Result<Self, Error> {
        let uploads = Arc::new(Uploads::new(Instant::now()));
        let spawn = Spawn::new(uploads.clone());
        // Dropped with the future, if the handshake is given up.
        let task = spawn.socket_task();
        let Lease {
            expires, permit, ..
        } = lease;
        let waiters = permit.as_ref().map(Permit::waiters);
        let io = Http2Io::new(io, permit);
        let builder = settings.builder(spawn.clone(), bounds);
        let unreachable = |error| Error::new(ErrorKind::Connect).with(error);
        let handshake = builder.handshake(TokioIo::new(io)).await;
        let (sender, mut driver) = handshake.map_err(unreachable)?;
        loop {
            let woken = spawn.stirred().notified();
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
        let shared = Shared::new(&settings, bounds, uploads, expires, waiters, task);
        let shared = Arc::new(shared);
        shared.allow(driver.current_max_send_streams());
        let watched = shared.clone();
        // Multiplexed streams have no single request to drive them. The task ends with the last sender.
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

    /// Whether it takes new streams.
    pub(in crate::upstream) fn is_open(&self) -> bool {
        let given_up = self.is_suspect() && self.streams() == 0;
        !given_up
            && !self.sender.is_closed()
            && self
                .shared
                .expires
                .is_none_or(|expires| expires > Instant::now())
    }

    pub(in crate::upstream) fn opened(&self) -> Instant {
        self.shared.opened
    }

    pub(in crate::upstream) fn has_room(&self) -> bool {
        self.shared.has_room()
    }

    pub(in crate::upstream) fn is_suspect(&self) -> bool {
        self.shared.is_suspect()
    }

    pub(in crate::upstream) fn streams(&self) -> usize {
        self.shared.streams()
    }

    /// When it will have idled for too long or lived for long enough; none while it is in use and may live on.
    pub(in crate::upstream) fn due(&self, idle_timeout: Duration) -> Option<Instant> {
        self.shared.due(idle_timeout)
    }

    pub(in crate::upstream) fn stream(&self) -> Stream {
        Stream::new(self.sender.clone(), Place::new(self.shared.clone()))
    }
}
