//! Which connection a request gets.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::{
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
    /// A connection that belongs to `client`, an idle connection that is still open, a stream on a shared one, or a new
    /// connection; nothing but a new one if it has to be `fresh`.
    ///
    /// 1. Take what is there, if others do not wait for it.
    /// 2. Wait for the one request that finds out what the endpoint speaks, or that opens a connection to be shared.
    /// 3. Wait for a place among the open connections, or for a connection that comes free meanwhile.
    /// 4. Connect, and shake hands.
    ///
    /// # Errors
    ///
    /// Those of [`Connector::connect`](crate::upstream::connect::Connector::connect), or `MaxConnections` when no
    /// connection may be opened and none came free. All of it has to happen within the connect timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives back its turn and its place, and closes what it was opening.
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

    /// Step 2.
    async fn connect(self: &Arc<Self>, demand: Demand) -> Result<Checkout, Error> {
        let deadline = after(Instant::now(), self.limits.connect_timeout);
        if self.speaks_http1.load(Relaxed) || demand.versions == Versions::Http1 {
            return self.open(demand, deadline).await;
        }
        // One at a time until it is known what the endpoint speaks, and one at a time for each HTTP/2 connection, so
        // that many first requests make one.
        let turn = self.shelf(demand.runtime, |shelf| shelf.turn());
        let Ok(Ok(turn)) = timeout_at(deadline, turn.acquire()).await else {
            return Err(Error::new(ErrorKind::ConnectTimeout));
        };
        if self.speaks_http1.load(Relaxed) {
            drop(turn);
            return self.open(demand, deadline).await;
        }
        match self.unclaimed(demand) {
            Some(ready) => Ok(ready),
            None => self.open(demand, deadline).await,
        }
    }

    /// Step 3.
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

    /// Step 4.
    async fn shake_hands(
        self: &Arc<Self>,
        demand: Demand,
        deadline: Instant,
        permit: Option<Permit>,
    ) -> Result<Checkout, Error> {
        let Demand {
            runtime, versions, ..
        } = demand;
        self.keep_reaper(runtime);
        let connected = self
            .connector
            .connect(&self.target, versions, deadline)
            .await?;
        let lifetime = self.limits.max_lifetime;
        let lifetime = lifetime.map(|most| most - (most / 10).mul_f64(fastrand::f64()));
        let expires = lifetime.map(|lifetime| after(Instant::now(), lifetime));
        let (lease, bounds) = (
            Lease {
                runtime,
                expires,
                permit,
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
        // An upgrade offers nothing else, so what it was given tells nothing.
        if versions == Versions::All {
            self.speaks_http1.store(true, Relaxed);
        }
        let keeper = self.shelf(runtime, |shelf| shelf.waker());
        let home = Arc::downgrade(self);
        let http1 = Http1::handshake(connected.io, lease, keeper, home, bounds).await?;
        Ok(Checkout::Http1 {
            http1,
            reused: false,
        })
    }
}
