//! The steps from a request to a connection.
//!
//! The fast path, an idle connection, takes the lock once and allocates nothing. The other steps are in a boxed future.
//!
//! Two queues may make a request wait, both fair and both within the connect timeout:
//!
//! - The *turn*, one per shelf: only one request at a time opens a connection until it is known whether the endpoint
//!   speaks HTTP/2, and later one at a time for each HTTP/2 connection. Otherwise a burst of first requests would open
//!   a connection each, of which HTTP/2 needs one.
//! - The *permits*, one per pool: only if `max_connections` is set.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::{
    io::AsyncWriteExt,
    runtime::Handle,
    time::{Instant, timeout_at},
};

use super::{
    checkout::{Checkout, Demand},
    connections::Pool,
};
#[cfg(feature = "http2")]
use crate::upstream::http2::Http2;
use crate::{
    clock::after,
    error::{Error, ErrorKind},
    limit::{Found, Permit},
    record::ClientConnection,
    upstream::{connect::Versions, http1::Http1, lease::Lease},
};

impl Pool {
    /// Returns a connection to send one request on: one that belongs to `client`, an idle one, a
    /// stream on a shared one, or a new one. If it has to be `fresh`, none that was opened before the call.
    ///
    /// 1. Take one that is ready, unless other requests wait for it.
    /// 2. Wait for the request that finds out what the endpoint speaks, or that opens a connection to be shared.
    /// 3. Wait for a permit, or for a connection that becomes free in the meantime.
    /// 4. Connect, and perform the handshake.
    ///
    /// # Errors
    ///
    /// Those of [`Connector::connect`](crate::upstream::connect::Connector::connect); `ConnectTimeout`, if step 2 or
    /// the HTTP/2 handshake takes longer than the connect timeout; `MaxConnections`, if no connection may be opened and
    /// none became free within it; `Connect`, if there is no tokio runtime or the handshake fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queues, returns the permit, and closes what it was opening.
    pub(in crate::upstream) async fn checkout(
        self: &Arc<Self>,
        versions: Versions,
        client: Option<ClientConnection>,
        fresh: bool,
    ) -> Result<Checkout, Error> {
        let Ok(runtime) = Handle::try_current() else {
            let error = Error::new(ErrorKind::Connect).with("no tokio runtime");
            return Err(error.at(&self.target.name));
        };
        let since = fresh.then(Instant::now);
        let demand = Demand {
            runtime: runtime.id(),
            versions,
            client,
            since,
        };
        if let Some(ready) = self.unclaimed(demand) {
            return Ok(ready);
        }
        // Boxed, because few requests connect, and all would have the room for it in their futures.
        Box::pin(self.connect(demand))
            .await
            .map_err(|error| error.at(&self.target.name))
    }

    /// Returns an idle HTTP/1 connection that can be used at once, or `None`: [`checkout`](Self::checkout) has to be
    /// called then, and also if there is no tokio runtime.
    pub(in crate::upstream) fn idle(
        &self,
        versions: Versions,
        client: Option<ClientConnection>,
    ) -> Option<Http1> {
        let demand = Demand {
            runtime: Handle::try_current().ok()?.id(),
            versions,
            client,
            since: None,
        };
        match self.is_contended() {
            true => None,
            false => self.idle_http1(demand),
        }
    }

    /// Opens a connection as a request would, TLS handshake included, and closes it. No HTTP is spoken on it.
    ///
    /// It is one of the open connections while it lasts: if their number is limited, it waits in line for a permit.
    ///
    /// # Errors
    ///
    /// Those of [`Connector::connect`](crate::upstream::connect::Connector::connect); `MaxConnections`, if no
    /// connection may be opened within the connect timeout. There has to be a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue, returns the permit, and closes what it was opening.
    pub(in crate::upstream) async fn check_connect(&self) -> Result<(), Error> {
        let deadline = after(Instant::now(), self.limits.connect_timeout);
        let _permit = match &self.open {
            None => None,
            Some(permits) => match permits.wait(deadline, || None::<()>, || self.evict()).await {
                Some(Found::Place(permit)) => Some(permit),
                _ => return Err(Error::new(ErrorKind::MaxConnections).at(&self.target.name)),
            },
        };
        let connect = self
            .connector
            .connect(&self.target, Versions::All, None, deadline);
        let mut io = connect.await?.io;
        // A server that reads the end of TCP before that of TLS logs a broken session. Whether it has heard of either
        // does not matter any more.
        let _ = timeout_at(deadline, io.shutdown()).await;
        Ok(())
    }

    /// Step 2. Waits for the turn of the shelf, unless the endpoint, or the request, can only use HTTP/1.1.
    ///
    /// The turn is held until the connection is open. If it fails to open, the next request in line tries for itself:
    /// what failed for one request may succeed for the next, and each has its own deadline.
    async fn connect(self: &Arc<Self>, demand: Demand) -> Result<Checkout, Error> {
        let deadline = after(Instant::now(), self.limits.connect_timeout);
        if self.speaks_http1.load(Relaxed) || demand.versions == Versions::Http1 {
            return self.open(demand, deadline).await;
        }
        // One at a time until it is known what the endpoint speaks, and one at a time for each HTTP/2 connection.
        let turn = self.shelf(demand.runtime, |shelf| shelf.turn());
        let Ok(Ok(turn)) = timeout_at(deadline, turn.acquire()).await else {
            return Err(Error::new(ErrorKind::ConnectTimeout));
        };
        // The request before has found HTTP/1.1: all that waited may connect at once.
        if self.speaks_http1.load(Relaxed) {
            drop(turn);
            return self.open(demand, deadline).await;
        }
        match self.unclaimed(demand) {
            Some(ready) => Ok(ready),
            None => self.open(demand, deadline).await,
        }
    }

    /// Step 3. Waits for a permit to open a connection, if their number is limited.
    async fn open(self: &Arc<Self>, demand: Demand, deadline: Instant) -> Result<Checkout, Error> {
        let Some(permits) = &self.open else {
            return self.shake_hands(demand, deadline, None).await;
        };
        match permits
            .wait(deadline, || self.ready(demand), || self.evict())
            .await
        {
            Some(Found::Place(permit)) => self.shake_hands(demand, deadline, Some(permit)).await,
            Some(Found::Ready(ready)) => Ok(ready),
            None => Err(Error::new(ErrorKind::MaxConnections)),
        }
    }

    /// Step 4. Connects, and performs the handshake of the version that ALPN or the scheme has chosen.
    ///
    /// An HTTP/2 connection goes onto the shelf at once, so that requests that wait for the turn find it.
    async fn shake_hands(
        self: &Arc<Self>,
        demand: Demand,
        deadline: Instant,
        permit: Option<Permit>,
    ) -> Result<Checkout, Error> {
        let Demand {
            runtime,
            versions,
            client,
            ..
        } = demand;
        self.keep_reaper(runtime);
        let connected = self
            .connector
            .connect(&self.target, versions, client, deadline)
            .await?;
        // Up to a tenth less, at random, so that connections opened together do not all end together.
        let lifetime = self.limits.max_lifetime;
        let lifetime = lifetime.map(|most| most - (most / 10).mul_f64(fastrand::f64()));
        let expires = lifetime.map(|lifetime| after(Instant::now(), lifetime));
        let (lease, bounds) = (
            Lease {
                runtime,
                expires,
                permit,
                open: self.counts.opened(self.metrics.opened()),
            },
            self.limits.bounds,
        );
        #[cfg(feature = "http2")]
        if connected.http2 {
            let http2 = Http2::handshake(connected.io, lease, self.limits.http2, bounds);
            let Ok(http2) = timeout_at(deadline, http2).await else {
                return Err(Error::new(ErrorKind::ConnectTimeout));
            };
            let http2 = http2?;
            let stream = http2.stream();
            self.shelf(runtime, |shelf| shelf.share(http2));
            return Ok(Checkout::Http2 {
                stream,
                reused: false,
            });
        }
        // An upgrade offers HTTP/1.1 alone, so that it was chosen says nothing about the endpoint.
        if versions == Versions::All {
            self.speaks_http1.store(true, Relaxed);
        }
        let keeper = self.shelf(runtime, |shelf| shelf.waker());
        let home = Arc::downgrade(self);
        let mut http1 = Http1::new(connected.io, lease, keeper, home, bounds);
        if client.is_some() && self.connector.tells_client() {
            http1.belongs_to(client);
        }
        Ok(Checkout::Http1 {
            http1,
            reused: false,
        })
    }
}
