//! Accepts connections and serves them until a signal, then lets what is in flight finish.
//!
//! The stages of a shutdown:
//!
//! 1. Connections that the kernel has accepted are taken, and every listener is closed.
//! 2. For [`LINGER`], every connection is still answered, and told that it ends.
//! 3. Idle connections are closed, and requests in flight may finish.
//! 4. After the drain timeout, what is left is dropped.
//!
//! Tunnels have until the drain timeout as well, and are closed then. Nothing is said in them: a WebSocket close is for
//! the two sides to send.

use std::{future::pending, io, sync::Arc, time::Duration};

use axum_upstream::{access_log::AccessLogLayer, cache::CacheLayer};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    task::JoinSet,
    time::sleep,
};

use crate::{
    answer::{Answerer, RequestFilters},
    connection::{OpenedConnection, Server, Stage},
    entrance::{EnteredConnection, Entrance, Gate},
    forwarding::{CachedForwarder, Forwarder, Forwarding},
    limits::{AddressKey, RequestRate},
    listen::{AcceptedStream, BoundListener, ListenSocket},
    places::Places,
    workers::Workers,
};

/// How long a client that knows nothing of the end is still answered: one that connected a moment ago has sent its
/// request, or is about to.
const LINGER: Duration = Duration::from_secs(1);

/// How long the tunnels that are closed at the drain timeout have to end.
const CLOSING: Duration = Duration::from_millis(200);

/// Serves the connections of one or more listeners.
pub(crate) struct Gateway {
    /// Where requests go.
    pub(crate) forwarding: Forwarding,
    /// Answers requests in their place, if there is a cache.
    pub(crate) cache: Option<CacheLayer>,
    /// Speaks HTTP with the clients.
    pub(crate) server: Server,
    /// The largest number of connections.
    pub(crate) places: usize,
    /// How long a connection may be idle while there are places.
    pub(crate) idle: Duration,
    /// How long requests in flight and tunnels may take after the signal.
    pub(crate) drain_timeout: Duration,
    /// Whether each request has a line among all else that is logged.
    pub(crate) short_lines: bool,
    /// Logs a line at the end of each request.
    pub(crate) access_log: Option<AccessLogLayer>,
    /// How many requests each address may send, if that is limited.
    pub(crate) rate: Option<Arc<RequestRate>>,
}

impl Gateway {
    /// Accepts connections until the signal, then takes what the kernel has accepted, and lets what is in flight
    /// finish. The first socket of each listener is served here, and each of the others by a thread of its own.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it refuses one of those threads.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops accepting, and ends the threads. Connections of the first thread go on in their own
    /// tasks.
    pub(crate) async fn serve(
        self,
        listeners: Vec<(BoundListener, Entrance)>,
        signal: impl Future<Output = io::Result<()>>,
    ) -> io::Result<()> {
        let stage = watch::Sender::new(Stage::Open);
        let drain_timeout = self.drain_timeout;
        let clients = Arc::new(Clients {
            places: Places::new(self.places, self.idle, stage.clone()),
            gateway: self,
        });
        let mut threads = Vec::<Vec<_>>::new();
        #[cfg(unix)]
        let mut files = Vec::new();
        for (listener, entrance) in listeners {
            let entrance = Arc::new(entrance);
            for (n, socket) in listener.sockets.into_iter().enumerate() {
                if n == threads.len() {
                    threads.push(Vec::new());
                }
                threads[n].push((socket, Arc::clone(&entrance)));
            }
            #[cfg(unix)]
            files.extend(listener.file);
        }
        let (mut here, mut workers) = (JoinSet::new(), Workers::new());
        for (n, sockets) in threads.into_iter().enumerate() {
            let accept = accept_all(Arc::clone(&clients), sockets, stage.subscribe());
            match n {
                0 => drop(here.spawn(accept)),
                _ => workers.start(accept)?,
            }
        }
        signal.await?;
        tracing::info!("stopping; requests in flight have {drain_timeout:?}");
        // From now on, a client that connects to a Unix socket is told that there is none.
        #[cfg(unix)]
        drop(files);
        stage.send_replace(Stage::Last);
        // Every listener and every connection holds a receiver, so this waits for the last one to end. A connection
        // that has become a tunnel does not any more.
        let tunnels = clients.gateway.forwarding.close_tunnels(drain_timeout);
        let last = async { tokio::join!(stage.closed(), tunnels) };
        let close = async {
            sleep(LINGER.min(drain_timeout)).await;
            stage.send_replace(Stage::Close);
            pending::<()>().await;
        };
        tokio::select! {
            _ = last => {}
            () = close => {}
            () = sleep(drain_timeout + CLOSING) => tracing::warn!("some requests did not finish in time"),
        }
        Ok(())
    }
}

/// What all listeners and connections share.
struct Clients {
    gateway: Gateway,
    places: Places,
}

/// Accepts the connections of the listeners of one thread, until the last of them has ended.
async fn accept_all(
    clients: Arc<Clients>,
    sockets: Vec<(ListenSocket, Arc<Entrance>)>,
    stage: watch::Receiver<Stage>,
) {
    let mut listeners = JoinSet::new();
    for (socket, entrance) in sockets {
        listeners.spawn(Arc::clone(&clients).accept(socket, entrance, stage.clone()));
    }
    while listeners.join_next().await.is_some() {}
}

impl Clients {
    /// Accepts the connections of one socket until the stage is the last, then those that the kernel has accepted.
    async fn accept(
        self: Arc<Self>,
        socket: ListenSocket,
        entrance: Arc<Entrance>,
        mut stage: watch::Receiver<Stage>,
    ) {
        let listener = match socket.listen() {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "cannot accept"),
        };
        let each = stage.clone();
        let serve = |accepted, place| self.spawn(accepted, place, &entrance, each.clone());
        let ends = |stage: &Stage| matches!(stage, Stage::Last | Stage::Close);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stage.wait_for(ends) => break,
            };
            // Only now: an idle listener must not hold a place that another listener could use.
            let place = self.places.take().await;
            serve(accepted, place);
        }
        if let Err(error) = listener.drain(&self.places, &serve).await {
            tracing::warn!(%error, "cannot take the last connections");
        }
    }

    /// Serves one connection in a task of its own.
    fn spawn(
        self: &Arc<Self>,
        (stream, peer): AcceptedStream,
        place: OwnedSemaphorePermit,
        entrance: &Arc<Entrance>,
        stage: watch::Receiver<Stage>,
    ) {
        if let Err(error) = stream.set_nodelay() {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let (clients, entrance) = (Arc::clone(self), Arc::clone(entrance));
        tokio::spawn(async move {
            let gateway = &clients.gateway;
            let open = async {
                let entered = entrance.enter(stream, peer, place).await;
                let mut entered = entered
                    .inspect_err(|error| tracing::debug!(?peer, %error, "connection refused"))?;
                let answerer = gateway.answerer(&mut entered, &entrance);
                Ok(OpenedConnection {
                    stream: entered.stream,
                    is_http2: entered.is_http2,
                    place: entered.place,
                    answer: move |request| answerer.answer(request),
                })
            };
            match gateway.server.serve(stage, open).await {
                Ok(()) => {}
                // hyper has answered it, with a 400, 414 or 431.
                Err(error) if error.is_parse() => tracing::info!(?peer, %error, "bad request"),
                Err(error) => tracing::debug!(?peer, %error, "connection ended early"),
            }
        });
    }
}

impl Gateway {
    /// Returns what answers the requests of a connection.
    fn answerer(&self, entered: &mut EnteredConnection, entrance: &Entrance) -> Answerer {
        let mut forwarder = self.forwarding.for_client(entered.address, entered.is_tls);
        if let Some(cache) = &self.cache {
            let cached = CachedForwarder::new(cache, forwarder, entered.is_tls);
            forwarder = Forwarder::Cached(Arc::new(cached));
        }
        let key = entered.address.map(|address| AddressKey::new(address.ip()));
        let rate = self.rate.clone().zip(key);
        let certificate = entered.certificate.take();
        // Behind a load balancer that has terminated TLS, a redirect would be to where the client is.
        let redirect = entrance.redirect.filter(|_| !entered.is_tls);
        let gate = Gate::new(redirect, rate, certificate);
        Answerer {
            forwarder,
            short_line: self.short_lines,
            filters: RequestFilters::new(gate, self.access_log.clone(), entered.address),
        }
    }
}
