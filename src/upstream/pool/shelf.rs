//! What the pool keeps for one runtime: idle HTTP/1 connections, shared HTTP/2 connections, and the reaper's handle.
//!
//! All methods are called with the pool locked. Connections that are to be closed are returned, and dropped by the
//! caller after the lock is released.

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
use crate::{
    clock::after, record::ClientConnection, telemetry::CloseCause, upstream::http1::Http1,
};

/// The connections of one runtime.
pub(super) struct Shelf {
    /// Idle connections that any request may use, the one that has idled longest first.
    ///
    /// Last in, first out: under little load a few connections stay in use, and the others reach their idle timeout.
    /// First in, first out would keep all of them open.
    idle: Vec<IdleConnection>,
    /// Idle connections that belong to one client connection each.
    owned: Vec<IdleConnection>,
    /// Open HTTP/2 connections, in use or not.
    #[cfg(feature = "http2")]
    shared: Vec<Http2>,
    /// Held by the request that may open an HTTP/2 connection. One permit; tokio's semaphore is fair.
    turn: Arc<Semaphore>,
    /// Wakes the reaper. Exists before it, as connections are made with its waker.
    bell: Arc<Bell>,
    /// The reaper: `None` before the first connection, `Some(None)` while it is being spawned.
    reaper: Option<Option<Reaper>>,
    /// When the reaper looks next, unless the bell rings. `None` before its first look.
    next_look: Option<Instant>,
}

/// How long a connection that belongs to a client connection may idle.
///
/// When the client's connection ends is not known here, and after a while another may have the same addresses. A client
/// whose connection to the endpoint is gone is asked for its credentials again, which is safe.
const OWNED_IDLE: Duration = Duration::from_secs(15);

/// The shortest time between two looks of the reaper at an HTTP/2 connection in use, which may be idle by the next.
const SHORTEST_SLEEP: Duration = Duration::from_secs(1);

/// A connection taken off the shelf, to be closed outside the lock.
#[expect(dead_code, reason = "dropped, not read")]
pub(super) enum Evicted {
    Http1(Http1),
    #[cfg(feature = "http2")]
    Http2(Http2),
}

/// An idle connection.
struct IdleConnection {
    /// The connection. What happens on its socket wakes the reaper.
    http1: Http1,
    /// When it is to be closed, because it has idled or lived for long enough.
    due: Instant,
}

impl IdleConnection {
    /// Returns the connection, which idles no longer.
    fn taken(self) -> Http1 {
        self.http1.set_idle(false);
        self.http1
    }
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
            next_look: None,
        }
    }
}

impl Shelf {
    /// Takes out the connection that was used last: of those that belong to `client`, or else, if it `may_share`, of
    /// those that belong to none.
    ///
    /// It may have expired, or ended.
    pub(super) fn pop(
        &mut self,
        client: Option<ClientConnection>,
        may_share: bool,
    ) -> Option<Http1> {
        // The time of an owned connection is checked here too, because the reaper may be late, and the wrong client
        // must not receive it.
        let is_own = |idle: &IdleConnection| {
            client.is_some() && idle.http1.owner() == client && Instant::now() < idle.due
        };
        if let Some(own) = self.owned.iter().rposition(is_own) {
            return Some(self.owned.remove(own).taken());
        }
        let shared = if may_share { self.idle.pop() } else { None };
        shared.map(IdleConnection::taken)
    }

    /// Returns the number of idle HTTP/1 connections.
    #[cfg(feature = "status")]
    pub(super) fn idle(&self) -> u64 {
        (self.idle.len() + self.owned.len()) as u64
    }

    /// Keeps an idle connection for `idle_timeout`, or to the end of its life. Returns it if there are `max_idle`
    /// already, or if none is to be kept at all.
    pub(super) fn push(
        &mut self,
        http1: Http1,
        max_idle: usize,
        idle_timeout: Duration,
    ) -> Option<Http1> {
        if self.idle.len() + self.owned.len() >= max_idle || idle_timeout.is_zero() {
            http1.closes(CloseCause::Surplus);
            return Some(http1);
        }
        http1.set_idle(true);
        let (shelf, timeout) = match http1.owner() {
            Some(_) => (&mut self.owned, idle_timeout.min(OWNED_IDLE)),
            None => (&mut self.idle, idle_timeout),
        };
        let due = after(Instant::now(), timeout);
        let due = http1.expires().map_or(due, |expires| expires.min(due));
        shelf.push(IdleConnection { http1, due });
        // Most are due after the reaper's next look, which then finds out when.
        if self.next_look.is_some_and(|next| due < next) {
            self.next_look = Some(due);
            self.bell.wake_by_ref();
        }
        None
    }

    /// Returns a stream on the shared connection that has the fewest, and forgets those that have closed.
    ///
    /// Connections without room are considered only if `even_if_full`, suspect ones and those opened before `since` not
    /// at all.
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

    /// Keeps a new HTTP/2 connection.
    #[cfg(feature = "http2")]
    pub(super) fn share(&mut self, http2: Http2) {
        self.shared.push(http2);
    }

    /// Returns the semaphore whose permit allows to open an HTTP/2 connection.
    pub(super) fn turn(&self) -> Arc<Semaphore> {
        self.turn.clone()
    }

    /// Returns the waker of the reaper. An idle connection that is polled with it is looked at when something happens
    /// on its socket.
    pub(super) fn waker(&self) -> Waker {
        self.bell.clone().into()
    }

    /// Returns the bell for a reaper if none has been asked for yet, and records that one has: there is never a second.
    pub(super) fn lacks_reaper(&mut self) -> Option<Arc<Bell>> {
        if self.reaper.is_some() {
            return None;
        }
        self.reaper = Some(None);
        Some(self.bell.clone())
    }

    /// Keeps the handle of the reaper, whose task ends with it.
    pub(super) fn set_reaper(&mut self, reaper: Reaper) {
        self.reaper = Some(Some(reaper));
    }

    /// Returns whether `bell` is this shelf's.
    pub(super) fn is_rung_by(&self, bell: &Arc<Bell>) -> bool {
        Arc::ptr_eq(&self.bell, bell)
    }

    /// Takes out a connection that nothing uses, of those that idle the one that has idled longest, or else an HTTP/2
    /// connection without streams.
    pub(super) fn evict(&mut self) -> Option<Evicted> {
        for idle in [&mut self.idle, &mut self.owned] {
            if !idle.is_empty() {
                let http1 = idle.remove(0).http1;
                http1.closes(CloseCause::Evicted);
                return Some(Evicted::Http1(http1));
            }
        }
        #[cfg(feature = "http2")]
        if let Some(unused) = self.shared.iter().position(|http2| http2.streams() == 0) {
            return Some(Evicted::Http2(self.shared.swap_remove(unused)));
        }
        None
    }

    /// Takes out what has ended, expired or idled for too long.
    ///
    /// Also returns when to look again: when the next connection will be due, and in any case before the idle timeout
    /// of one that is put here from now on could end.
    ///
    /// HTTP/2 connections are dropped here, under the lock: only a handle is, and the socket belongs to a task.
    pub(super) fn sweep(&mut self, idle_timeout: Duration) -> (Vec<Http1>, Instant) {
        let now = Instant::now();
        let mut gone = Vec::new();
        let mut next = after(now, idle_timeout.max(SHORTEST_SLEEP));
        for all in [&mut self.idle, &mut self.owned] {
            for mut idle in std::mem::take(all) {
                let is_due = idle.due <= now;
                if is_due || !idle.http1.is_reusable() {
                    let otherwise = match is_due {
                        true => CloseCause::IdleTimeout,
                        false => CloseCause::Endpoint,
                    };
                    idle.http1.closes(idle.http1.expiry().unwrap_or(otherwise));
                    gone.push(idle.http1);
                } else {
                    next = next.min(idle.due);
                    idle.http1.free_memory();
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
        self.next_look = Some(next);
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
