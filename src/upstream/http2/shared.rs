//! State that a connection shares with its streams and with the pool.
//!
//! [`Shared`] lives as long as the last handle or stream. Each request holds a [`Place`] in it, from the moment at
//! which the pool has chosen the connection until the response body has ended or is dropped. The number of places is
//! what the pool compares, and what tells whether the connection is idle.
//!
//! All fields are atomics instead of one mutex, because every request on every thread changes them. Each is of use by
//! itself, and a pool that reads a value a moment old only chooses a slightly worse connection; so most are relaxed.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    time::Duration,
};

use tokio::{runtime::Handle, time::Instant};

use super::{settings::Settings, spawn::SocketTask, upload::Uploads};
use crate::{clock::after, limit::PermitQueue, upstream::bounds::MessageBounds};

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Shared {
    /// The limits of heads and trailers, checked on each stream.
    pub(super) bounds: MessageBounds,
    /// The request bodies in progress.
    pub(super) uploads: Arc<Uploads>,
    /// The runtime where the connection was made. What has to outlive an exchange is spawned there, as the exchange may
    /// end on another runtime, or on a thread without one.
    pub(super) runtime: Handle,
    /// When the connection takes no more requests; `None` means never.
    pub(super) expires: Option<Instant>,
    /// When the handshake was complete. The other times here are relative to it.
    pub(super) opened: Instant,
    /// Whether the server takes extended CONNECT (RFC 8441 3). It cannot take that back.
    pub(super) extended_connect: bool,
    /// How many streams there may be so that the connection's window never fills.
    most_streams: usize,
    /// How many places exist.
    streams: AtomicUsize,
    /// How many streams the server allows, as its last SETTINGS said.
    max_streams: AtomicUsize,
    /// Milliseconds from `opened` to the end of the last stream.
    last_used: AtomicU64,
    /// Whether a request was given up after a long wait, and nothing has been answered since: the server may be gone
    /// without a word, so no other request is sent there.
    suspect: AtomicBool,
    /// The requests that wait for a connection, if the number of connections is limited.
    waiters: Option<PermitQueue>,
    /// The number of the current [`PERIOD`] in the upper half, and in the lower half how many streams were reset in it.
    /// In one atomic, so that both change together.
    resets: AtomicU64,
    /// Ends the socket's task a while after the last handle and the last stream are gone.
    _socket_task: SocketTask,
}

/// How many streams may be reset on a connection in a period before new requests take another one.
///
/// A client that leaves has its stream reset. Servers count resets, since attacks are made of them (CVE-2023-44487),
/// and close a connection that has too many, with everybody's requests on it. Netty is the strictest, with 200 in 30 s.
/// Streams in progress when the limit is reached may still be reset, hence the distance.
const MAX_RESETS: u64 = 50;
/// The period in which resets are counted. Periods follow one another and do not slide, so two limits' worth of resets
/// may fall into any 30 s; that is still far from 200.
const PERIOD: Duration = Duration::from_secs(30);

/// Masks the count in `resets`.
const LOWER: u64 = u32::MAX as u64;

/// How long an unanswered request makes its connection suspect.
///
/// Pings would tell for certain, but gRPC servers close connections that are pinged more often than every five minutes,
/// so they are off unless the user asks for them.
const SUSPICION: Duration = Duration::from_secs(5);

impl Shared {
    /// Returns the state of a connection without streams. No stream is allowed before [`allow`](Self::allow).
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    pub(super) fn new(
        settings: &Settings,
        bounds: MessageBounds,
        uploads: Arc<Uploads>,
        expires: Option<Instant>,
        waiters: Option<PermitQueue>,
        socket_task: SocketTask,
        extended_connect: bool,
    ) -> Self {
        Self {
            bounds,
            uploads,
            runtime: Handle::current(),
            expires,
            opened: Instant::now(),
            extended_connect,
            most_streams: settings.max_streams(),
            streams: AtomicUsize::new(0),
            max_streams: AtomicUsize::new(0),
            last_used: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            waiters,
            resets: AtomicU64::new(0),
            _socket_task: socket_task,
        }
    }

    /// Sets how many streams the server allows.
    pub(super) fn allow(&self, streams: usize) {
        self.max_streams.store(streams, Relaxed);
    }

    /// Returns how many places exist.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Acquire)
    }

    /// Returns whether another stream would neither wait for those that are open nor be in their way.
    ///
    /// RFC 9113 5.1.2: endpoints "MUST NOT exceed the limit set by their peer"; hyper keeps a stream above it waiting.
    pub(super) fn has_room(&self) -> bool {
        let allowed = self.max_streams.load(Relaxed);
        self.streams() < allowed.min(self.most_streams)
            && !self.uploads.stand_still()
            && !self.is_often_reset()
    }

    /// Returns whether [`MAX_RESETS`] streams have been reset in the current period.
    fn is_often_reset(&self) -> bool {
        let resets = self.resets.load(Relaxed);
        resets & LOWER >= MAX_RESETS && resets >> 32 == self.period()
    }

    /// Counts a stream that is reset from here, or may be.
    pub(super) fn count_reset(&self) {
        let period = self.period();
        let more = |resets: u64| match resets >> 32 == period {
            true => Some(resets + 1),
            false => Some(period << 32 | 1),
        };
        // The closure always returns `Some`, so the update cannot fail.
        let _ = self.resets.fetch_update(Relaxed, Relaxed, more);
    }

    /// Returns the number of the current period.
    fn period(&self) -> u64 {
        self.opened.elapsed().as_secs() / PERIOD.as_secs()
    }

    /// Returns whether the server may be gone without a word: see the field.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Relaxed)
    }

    /// Returns when the connection will have idled for `idle_timeout` or reached the end of its life. `None` while it
    /// is in use and has no end of life.
    pub(super) fn due(&self, idle_timeout: Duration) -> Option<Instant> {
        let used = self.opened + Duration::from_millis(self.last_used.load(Relaxed));
        let idle = (self.streams() == 0).then(|| after(used, idle_timeout));
        [idle, self.expires].into_iter().flatten().min()
    }

    /// Notifies the requests that wait for a connection that this one can now be used, or closed for its place.
    fn tell(&self) {
        if let Some(waiters) = &self.waiters {
            waiters.tell();
        }
    }
}

/// The place of one request on a connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// The state of the connection.
    pub(super) shared: Arc<Shared>,
    /// When the place was taken, shortly before the stream is opened.
    started: Instant,
    /// Whether the server has answered the request, be it by an error.
    answered: bool,
}

impl Place {
    /// Takes a place. There is no maximum here: the pool decides by [`Shared::has_room`] first, and may exceed it at
    /// `max_connections`.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.streams.fetch_add(1, AcqRel);
        Self {
            shared,
            started: Instant::now(),
            answered: false,
        }
    }

    /// Returns when the place was taken.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Records that the server has answered, be it by a refusal: it is alive.
    pub(super) fn answered(&mut self) {
        self.answered = true;
        // Read first: every answer comes through here, and a write would take the cache line from the other threads.
        if self.shared.is_suspect() {
            self.shared.suspect.store(false, Relaxed);
            self.shared.tell();
        }
    }
}

impl Drop for Place {
    /// Gives the place up. A request that was dropped unanswered after [`SUSPICION`] makes the connection suspect.
    fn drop(&mut self) {
        let shared = &self.shared;
        if !self.answered && self.started.elapsed() >= SUSPICION {
            shared.suspect.store(true, Relaxed);
        }
        let millis = u64::try_from(shared.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        shared.last_used.store(millis, Relaxed);
        if shared.streams.fetch_sub(1, AcqRel) == 1 {
            // Nothing uses the connection now, so it can be closed for one of another version or runtime.
            shared.tell();
        }
    }
}
