//! Servers that can be stopped and started again, and requests to them.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use axum_upstream::{Body, LoadBalance, policy::RoundRobin};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpSocket,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::TlsAcceptor;
use tower::{Service, ServiceExt};

/// A server on a port of its own, which it keeps while it is stopped.
pub struct Server {
    address: SocketAddr,
    router: Router,
    tls: Option<TlsAcceptor>,
    tasks: JoinSet<()>,
    /// Without a listener, it refuses connections, and no other socket can get its port.
    _port: TcpSocket,
}

impl Server {
    pub fn start(router: Router) -> Self {
        Self::start_with(router, None)
    }

    /// One with TLS, which prefers HTTP/2.
    pub fn start_tls(router: Router) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut config =
            ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key.into())
                .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::start_with(router, Some(Arc::new(config).into()))
    }

    fn start_with(router: Router, tls: Option<TlsAcceptor>) -> Self {
        let port = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut server = Self {
            address: port.local_addr().unwrap(),
            router,
            tls,
            tasks: JoinSet::new(),
            _port: port,
        };
        server.start_again();
        server
    }

    /// A server that says hello.
    pub fn hello() -> Self {
        Self::start(Router::new().fallback(get(|| async { "hello" })))
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Breaks all connections, and refuses new ones.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Listens again.
    pub fn start_again(&mut self) {
        let listener = socket(self.address).listen(1024).unwrap();
        let (router, tls) = (self.router.clone(), self.tls.clone());
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (router, tls) = (router.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, router).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, router).await;
                            }
                        }
                    }
                });
            }
        });
    }

    /// Listens again as another server.
    pub fn start_again_as(&mut self, router: Router) {
        self.router = router;
        self.start_again();
    }
}

/// Serves a connection of either version, WebSockets too.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http2().enable_connect_protocol();
    let service = TowerToHyperService::new(router);
    // An error is the end of the connection, which may be what the test is about.
    let _ = server
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

/// A socket that has this address, or shares it.
fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// A cluster of these servers, which take turns: with the default policy, one that was slow to answer once may have no
/// request for seconds, and so nothing that a page could show.
pub fn cluster<const N: usize>(servers: [&Server; N]) -> LoadBalance {
    let builder = LoadBalance::builder().policy(RoundRobin);
    builder.urls(servers.map(Server::url)).unwrap()
}

/// An application with a status page at `/status/`.
pub fn app(status: Router) -> Router {
    Router::new().nest_service("/status/", status)
}

/// Sends about a hundred requests a second, one after the other, until it is dropped.
pub fn load<L, B>(balance: L) -> JoinSet<Infallible>
where
    L: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    L::Future: Send,
    L::Error: Send,
    B: http_body::Body<Data: Send> + Send,
{
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut ticks = interval(Duration::from_millis(10));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let request = Request::get("http://example.com/")
                .body(Body::empty())
                .unwrap();
            if let Ok(response) = balance.clone().oneshot(request).await {
                let _ = response.into_body().collect().await;
            }
        }
    });
    tasks
}
