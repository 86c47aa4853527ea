//! The idle connections of one endpoint.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

#[cfg(feature = "http2")]
use super::http2::Http2;
use super::{
    connect::{Connected, Connector},
    http1::Http1,
    target::{Scheme, Target},
};
use crate::error::{Error, Kind};

/// Bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) idle_timeout: Duration,
    pub(super) max_idle: usize,
    pub(super) connect_timeout: Duration,
}

/// Idle HTTP/1 connections, last in first out, and the HTTP/2 connection if the endpoint speaks that.
///
/// Last in first out keeps few connections warm and lets the others time out.
pub(super) struct Pool {
    target: Arc<Target>,
    connector: Connector,
    limits: Limits,
    idle: Mutex<Vec<Idle>>,
    #[cfg(feature = "http2")]
    http2: Mutex<Option<Http2>>,
    /// Whoever may make an HTTP/2 connection holds it, so that many first requests make one.
    turn: Semaphore,
    /// ALPN has chosen HTTP/1.1, so nobody need wait for a turn.
    speaks_http1: AtomicBool,
}

struct Idle {
    http1: Http1,
    since: Instant,
}

/// A connection to send one request on.
pub(super) enum Checkout {
    Http1 {
        http1: Http1,
        reused: bool,
    },
    #[cfg(feature = "http2")]
    Http2(Http2),
}

impl Checkout {
    pub(super) fn is_http2(&self) -> bool {
        !matches!(self, Self::Http1 { .. })
    }
}

impl Pool {
    pub(super) fn new(target: Arc<Target>, connector: Connector, limits: Limits) -> Self {
        let speaks_http1 = AtomicBool::new(target.scheme == Scheme::Http);
        Self {
            target,
            connector,
            limits,
            idle: Mutex::default(),
            #[cfg(feature = "http2")]
            http2: Mutex::default(),
            turn: Semaphore::new(1),
            speaks_http1,
        }
    }

    /// An idle connection that is still open, the shared HTTP/2 connection, or a new one.
    ///
    /// # Errors
    ///
    /// `Unreachable` or `ConnectTimeout`. The wait for another request's connecting counts into the connect timeout.
    pub(super) async fn checkout(&self, upgrade: bool) -> Result<Checkout, Error> {
        while let Some(mut http1) = self.pop() {
            if http1.is_usable().await {
                return Ok(Checkout::Http1 { http1, reused: true });
            }
        }
        // RFC 9113 8.6: HTTP/2 has no Upgrade, so such a request takes a connection that speaks HTTP/1.1 where one can
        // be had. Prior knowledge says that it cannot: there it goes as the plain request it also is.
        if upgrade && self.target.scheme != Scheme::H2c {
            let connected = self.connector.connect_http1(&self.target).await?;
            return self.http1(connected).await;
        }
        if let Some(shared) = self.shared() {
            return Ok(shared);
        }
        if self.speaks_http1.load(Relaxed) {
            return self.open().await;
        }
        let turn = timeout(self.limits.connect_timeout, self.turn.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Error::new(Kind::ConnectTimeout).at(&self.target.name));
        };
        match self.shared() {
            Some(shared) => Ok(shared),
            None => self.open().await,
        }
    }

    #[cfg(feature = "http2")]
    fn shared(&self) -> Option<Checkout> {
        let mut shared = lock(&self.http2);
        *shared = shared.take().filter(Http2::is_open);
        shared.clone().map(Checkout::Http2)
    }

    #[cfg(not(feature = "http2"))]
    fn shared(&self) -> Option<Checkout> {
        None
    }

    async fn open(&self) -> Result<Checkout, Error> {
        let connected = self.connector.connect(&self.target).await?;
        #[cfg(feature = "http2")]
        if connected.http2 {
            let http2 = Http2::handshake(connected.io).await.map_err(|error| error.at(&self.target.name))?;
            *lock(&self.http2) = Some(http2.clone());
            return Ok(Checkout::Http2(http2));
        }
        self.speaks_http1.store(true, Relaxed);
        self.http1(connected).await
    }

    async fn http1(&self, connected: Connected) -> Result<Checkout, Error> {
        let http1 = Http1::handshake(connected.io).await.map_err(|error| error.at(&self.target.name))?;
        Ok(Checkout::Http1 { http1, reused: false })
    }

    fn pop(&self) -> Option<Http1> {
        let mut idle = lock(&self.idle);
        let Idle { http1, since } = idle.pop()?;
        if since.elapsed() < self.limits.idle_timeout {
            return Some(http1);
        }
        // The newest is too old, so all are. They close after the lock is gone.
        let expired = std::mem::take(&mut *idle);
        drop(idle);
        drop((http1, expired));
        None
    }

    /// Takes a connection back.
    pub(super) fn put(&self, http1: Http1) {
        let mut idle = lock(&self.idle);
        if idle.len() < self.limits.max_idle {
            idle.push(Idle { http1, since: Instant::now() });
        }
    }
}

/// A pool whose holder panicked is still a list of connections.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("target", &self.target.name)
            .field("limits", &self.limits)
            .field("idle", &lock(&self.idle).len())
            .finish_non_exhaustive()
    }
}
