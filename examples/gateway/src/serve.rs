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

use std::{
    convert::Infallible,
    future::pending,
    io,
    net::{self, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use axum_upstream::{LoadBalance, ReverseProxy, access_log::AccessLogLayer};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, watch},
    task::JoinSet,
    time::sleep,
};
use tower::{Layer, Service, service_fn};
use tracing::Level;

use crate::{
    connection::{Server, Stage, Upload},
    listen,
    log::LogLine,
    places::Places,
    workers::Workers,
};

/// How long a client that knows nothing of the end is still answered: one that connected a moment ago has sent its
/// request, or is about to.
const LINGER: Duration = Duration::from_secs(1);

/// How long the tunnels that are closed at the drain timeout have to end.
const CLOSING: Duration = Duration::from_millis(200);

/// The proxy that every connection has a clone of.
type Proxy = ReverseProxy<LoadBalance>;

/// Serves the connections of one or more listeners.
pub(crate) struct Gateway {
    /// Forwards the requests.
    pub(crate) proxy: Proxy,
    /// Speaks HTTP with the clients.
    pub(crate) server: Arc<Server>,
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
}

impl Gateway {
    /// Accepts connections until the signal, then takes what the kernel has accepted, and lets what is in flight
    /// finish. The first listener is served here, and each of the others by a thread of its own.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it refuses one of those threads.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops accepting, and ends the threads. Connections of the first listener go on in their own
    /// tasks.
    pub(crate) async fn serve(
        self,
        listeners: Vec<net::TcpListener>,
        signal: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let stage = watch::Sender::new(Stage::Open);
        let drain_timeout = self.drain_timeout;
        let clients = Arc::new(Clients {
            places: Places::new(self.places, self.idle, stage.clone()),
            gateway: self,
        });
        let (mut here, mut workers) = (JoinSet::new(), Workers::new());
        for (n, listener) in listeners.into_iter().enumerate() {
            let accept = Arc::clone(&clients).accept(listener, stage.subscribe());
            match n {
                0 => drop(here.spawn(accept)),
                _ => workers.start(accept)?,
            }
        }
        signal.await;
        tracing::info!("stopping; requests in flight have {drain_timeout:?}");
        stage.send_replace(Stage::Last);
        // Every listener and every connection holds a receiver, so this waits for the last one to end. A connection
        // that has become a tunnel does not any more.
        let tunnels = clients.gateway.proxy.close_tunnels(drain_timeout);
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

impl Clients {
    /// Accepts the connections of one listener until the stage is the last, then those that the kernel has accepted.
    async fn accept(
        self: Arc<Self>,
        listener: net::TcpListener,
        mut stage: watch::Receiver<Stage>,
    ) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "cannot accept"),
        };
        let each = stage.clone();
        let serve = |stream, peer, place| self.spawn(stream, peer, place, each.clone());
        let ends = |stage: &Stage| matches!(stage, Stage::Last | Stage::Close);
        loop {
            let (stream, peer) = tokio::select! {
                accepted = listen::accept(&listener) => accepted,
                _ = stage.wait_for(ends) => break,
            };
            // Only now: a listener that nobody connects to must not keep a place from the others.
            let place = self.places.take().await;
            serve(stream, peer, place);
        }
        if let Err(error) = listen::drain(listener, &self.places, &serve).await {
            tracing::warn!(%error, "cannot take the last connections");
        }
    }

    /// Serves one connection in a task of its own.
    fn spawn(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
        stage: watch::Receiver<Stage>,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let gateway = &self.gateway;
        let server = Arc::clone(&gateway.server);
        let proxy = gateway.proxy.clone().client_addr(peer);
        let (short_lines, access_log) = (gateway.short_lines, gateway.access_log.clone());
        tokio::spawn(async move {
            let answer = move |request| answer(proxy, request, short_lines, access_log);
            match server.serve(stream, place, stage, answer).await {
                Ok(()) => {}
                // hyper has answered it, with a 400, 414 or 431.
                Err(error) if error.is_parse() => tracing::info!(%peer, %error, "bad request"),
                Err(error) => tracing::debug!(%peer, %error, "connection ended early"),
            }
        });
    }
}

/// Forwards one request, and logs it.
async fn answer(
    proxy: Proxy,
    request: Request<Upload<Incoming>>,
    short: bool,
    access_log: Option<AccessLogLayer>,
) -> Response<Body> {
    match access_log {
        // Boxed: without the log, the future of each request is as small as it can be.
        Some(log) => Box::pin(logged(log, proxy, request)).await,
        None => forward(proxy, request, short).await,
    }
}

/// Forwards one request that is in the access log.
async fn logged(
    log: AccessLogLayer,
    proxy: Proxy,
    request: Request<Upload<Incoming>>,
) -> Response<Body> {
    let forward = service_fn(|request| {
        let proxy = proxy.clone();
        async { Ok::<_, Infallible>(forward(proxy, request, false).await) }
    });
    match log.layer(forward).call(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// Forwards one request, with a short line in the log if there are such lines.
async fn forward(
    mut proxy: Proxy,
    request: Request<Upload<Incoming>>,
    short: bool,
) -> Response<Body> {
    let mut line = (short && tracing::enabled!(Level::INFO)).then(|| LogLine::new(&request));
    let response = match proxy.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if let Some(line) = &mut line {
        line.answered(&response);
    }
    response
}

/// Completes at SIGINT or SIGTERM.
pub(crate) async fn shutdown_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
            return;
        }
    }
    let _ = interrupt.await;
}
