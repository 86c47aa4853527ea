//! What a connection and its streams know of each other.

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

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bounds: MessageBounds,
    pub(super) uploads: Arc<Uploads>,
    /// Where the connection was made. What has to outlive an exchange runs there.
    pub(super) runtime: Handle,
    pub(super) expires: Option<Instant>,
    pub(super) opened: Instant,
    /// How many streams there may be for our own sake.
    most_streams: usize,
    streams: AtomicUsize,
    /// How many streams the server allows, as it said last.
    max_streams: AtomicUsize,
    /// Milliseconds from `opened` to the end of the last stream.
    last_used: AtomicU64,
    /// A request was given up after a long wait, and nothing has been answered since: the server may be gone without a
    /// word, so no other request goes there.
    suspect: AtomicBool,
    waiters: Option<PermitQueue>,
    /// The number of a period in the upper half, and in the lower how many streams were reset in it.
    resets: AtomicU64,
    /// Ends a while after the last handle and the last stream are gone.
    _socket_task: SocketTask,
}

/// How many streams may be reset on a connection in a period before new requests take another one.
///
/// A client that leaves has its stream reset. Servers count resets, since attacks are made of them (CVE-2023-44487),
/// and close a connection that has too many, with everybody's requests on it. Netty is the strictest with 200 in 30 s.
/// What is under way when the limit is reached may still be reset, hence the distance.
const MAX_RESETS: u64 = 50;
const PERIOD: Duration = Duration::from_secs(30);

const LOWER: u64 = u32::MAX as u64;

/// How long an unanswered request makes its connection suspect. Pings would tell for certain, but servers of gRPC close
/// connections that are pinged more often than every five minutes, so those are for users to ask for.
const SUSPICION: Duration = Duration::from_secs(5);

impl Shared {
    pub(super) fn new(
        settings: &Settings,
        bounds: MessageBounds,
        uploads: Arc<Uploads>,
        expires: Option<Instant>,
        waiters: Option<PermitQueue>,
        socket_task: SocketTask,
    ) -> Self {
        Self {
            bounds,
            uploads,
            runtime: Handle::current(),
            expires,
            opened: Instant::now(),
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

    pub(super) fn allow(&self, streams: usize) {
        self.max_streams.store(streams, Relaxed);
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.load(Acquire)
    }

    /// Whether another stream would neither wait for those that are open nor be in their way.
    pub(super) fn has_room(&self) -> bool {
        let allowed = self.max_streams.load(Relaxed);
        self.streams() < allowed.min(self.most_streams)
            && !self.uploads.stand_still()
            && !self.is_often_reset()
    }

    fn is_often_reset(&self) -> bool {
        let resets = self.resets.load(Relaxed);
        resets & LOWER >= MAX_RESETS && resets >> 32 == self.period()
    }

    /// Counts a stream that is reset here, or may be.
    pub(super) fn count_reset(&self) {
        let period = self.period();
        let more = |resets: u64| match resets >> 32 == period {
            true => Some(resets + 1),
            false => Some(period << 32 | 1),
        };
        // It never refuses.
        let _ = self.resets.fetch_update(Relaxed, Relaxed, more);
    }

    fn period(&self) -> u64 {
        self.opened.elapsed().as_secs() / PERIOD.as_secs()
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Relaxed)
    }

    /// When it will have idled for too long or lived for long enough; none while it is in use and may live on.
    pub(super) fn due(&self, idle_timeout: Duration) -> Option<Instant> {
        let used = self.opened + Duration::from_millis(self.last_used.load(Relaxed));
        let idle = (self.streams() == 0).then(|| after(used, idle_timeout));
        [idle, self.expires].into_iter().flatten().min()
    }

    fn tell(&self) {
        if let Some(waiters) = &self.waiters {
            waiters.tell();
        }
    }
}

/// A place for one request, counted until dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) shared: Arc<Shared>,
    started: Instant,
    answered: bool,
}

impl Place {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.streams.fetch_add(1, AcqRel);
        Self {
            shared,
            started: Instant::now(),
            answered: false,
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The server has answered, and be it by a refusal: it lives.
    pub(super) fn answered(&mut self) {
        self.answered = true;
        // Read first: every answer comes by here, and a write would take the line from the other threads.
        if self.shared.is_suspect() {
            self.shared.suspect.store(false, Relaxed);
            self.shared.tell();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let shared = &self.shared;
        if !self.answered && self.started.elapsed() >= SUSPICION {
            shared.suspect.store(true, Relaxed);
        }
        let millis = u64::try_from(shared.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        shared.last_used.store(millis, Relaxed);
        if shared.streams.fetch_sub(1, AcqRel) == 1 {
            // Nothing uses the connection now, so it can make way for one of another version or runtime.
            shared.tell();
        }
    }
}
