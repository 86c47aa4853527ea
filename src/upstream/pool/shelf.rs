//! What one runtime keeps: idle HTTP/1 connections, shared HTTP/2 connections.

use std::{
    fmt,
    sync::Arc,
    task::{Wake, Waker},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use super::reaper::{Bell, Reaper};
#[cfg(feature = "http2")]
use crate::upstream::http2::{Http2, Stream};
use crate::{clock::after, record::ClientConnection, upstream::http1::Http1};

pub(super) struct Shelf {
    /// Last in, first out: few connections stay warm, and the others are let go when they have idled for too long. The
    /// first has idled longest.
    idle: Vec<IdleConnection>,
    /// Those that belong to one client's connection each.
    owned: Vec<IdleConnection>,
    #[cfg(feature = "http2")]
    shared: Vec<Http2>,
    /// Whoever may open an HTTP/2 connection holds it.
    turn: Arc<Semaphore>,
    bell: Arc<Bell>,
    /// `Some(None)` while it is being spawned.
    reaper: Option<Option<Reaper>>,
}

/// How long a connection that belongs to a client's may idle. The end of the client's is not known here, and after a
/// while another may have its addresses. A client whose connection is gone is asked for its credentials again.
const OWNED_IDLE: Duration = Duration::from_secs(15);

/// A connection taken off the shelf, to be closed outside the lock.
#[expect(dead_code, reason = "dropped, not read")]
pub(super) enum Evicted {
    Http1(Http1),
    #[cfg(feature = "http2")]
    Http2(Http2),
}

struct IdleConnection {
    http1: Http1,
    since: Instant,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            owned: Vec::new(),
            #[cfg(feature = "http2")]
            shared: Vec::new(),
            turn: Arc::new(Semaphore::new(1)),
            bell: Arc::default(),
            reaper: None,
        }
    }
}

impl Shelf {
    /// The connection that was used last: of those that belong to `client`, or else of those that belong to none.
    pub(super) fn pop(&mut self, client: Option<ClientConnection>) -> Option<Http1> {
        // Its time is checked here, too: the reaper may be late.
        let is_own = |idle: &IdleConnection| {
            client.is_some() && idle.http1.owner() == client && idle.since.elapsed() < OWNED_IDLE
        };
        if let Some(own) = self.owned.iter().rposition(is_own) {
            return Some(self.owned.remove(own).http1);
        }
        self.idle.pop().map(|idle| idle.http1)
    }

    /// Keeps a connection; gives it back if there are enough.
    pub(super) fn push(&mut self, http1: Http1, max_idle: usize) -> Option<Http1> {
        if self.idle.len() + self.owned.len() >= max_idle {
            return Some(http1);
        }
        let is_owned = http1.owner().is_some();
        let since = Instant::now();
        let idle = IdleConnection { http1, since };
        if is_owned {
            self.owned.push(idle);
            // It is due before what the reaper sleeps for.
            self.bell.wake_by_ref();
        } else {
            self.idle.push(idle);
        }
        None
    }

    /// A stream on the connection that has most room; on a full one only if no other may be opened; on none that was
    /// opened before `since`.
    #[cfg(feature = "http2")]
    pub(super) fn stream(&mut self, even_if_full: bool, since: Option<Instant>) -> Option<Stream> {
        self.shared.retain(Http2::is_open);
        let open = self
            .shared
            .iter()
            .filter(|http2| !http2.is_suspect() && (even_if_full || http2.has_room()))
            .filter(|http2| since.is_none_or(|since| http2.opened() >= since));
        open.min_by_key(|http2| http2.streams()).map(Http2::stream)
    }

    #[cfg(feature = "http2")]
    pub(super) fn share(&mut self, http2: Http2) {
        self.shared.push(http2);
    }

    pub(super) fn turn(&self) -> Arc<Semaphore> {
        self.turn.clone()
    }

    /// What wakes the reaper: an idle connection that is polled with it is looked at when its socket stirs.
    pub(super) fn waker(&self) -> Waker {
        self.bell.clone().into()
    }

    /// The bell for a reaper, if there is none yet: asked once, so that there is never a second.
    pub(super) fn lacks_reaper(&mut self) -> Option<Arc<Bell>> {
        if self.reaper.is_some() {
            return None;
        }
        self.reaper = Some(None);
        Some(self.bell.clone())
    }

    pub(super) fn set_reaper(&mut self, reaper: Reaper) {
        self.reaper = Some(Some(reaper));
    }

    pub(super) fn is_rung_by(&self, bell: &Arc<Bell>) -> bool {
        Arc::ptr_eq(&self.bell, bell)
    }

    pub(super) fn evict(&mut self) -> Option<Evicted> {
        for idle in [&mut self.idle, &mut self.owned] {
            if !idle.is_empty() {
                return Some(Evicted::Http1(idle.remove(0).http1));
            }
        }
        #[cfg(feature = "http2")]
        if let Some(unused) = self.shared.iter().position(|http2| http2.streams() == 0) {
            return Some(Evicted::Http2(self.shared.swap_remove(unused)));
        }
        None
    }

    /// Takes out what has ended or idled for too long, and says when to look again: when the next will have, and in any
    /// case before a connection that comes back from now on could.
    pub(super) fn sweep(&mut self, idle_timeout: Duration) -> (Vec<Http1>, Instant) {
        let now = Instant::now();
        let mut gone = Vec::new();
        let mut next = after(now, idle_timeout);
        let owned_timeout = idle_timeout.min(OWNED_IDLE);
        for (all, timeout) in [
            (&mut self.idle, idle_timeout),
            (&mut self.owned, owned_timeout),
        ] {
            for mut idle in std::mem::take(all) {
                let due = after(idle.since, timeout);
                let due = idle.http1.expires().map_or(due, |expires| expires.min(due));
                if due <= now || !idle.http1.is_reusable() {
                    gone.push(idle.http1);
                } else {
                    next = next.min(due);
                    all.push(idle);
                }
            }
        }
        #[cfg(feature = "http2")]
        {
            self.shared.retain(|http2| {
                http2.is_open() && http2.due(idle_timeout).is_none_or(|due| due > now)
            });
            next = self
                .shared
                .iter()
                .filter_map(|http2| http2.due(idle_timeout))
                .fold(next, Instant::min);
        }
        (gone, next)
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf")
            .field("idle", &self.idle.len())
            .field("owned", &self.owned.len())
            .finish_non_exhaustive()
    }
}
