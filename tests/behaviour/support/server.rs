//! Endpoints.

use std::{future::Future, net::SocketAddr};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

use super::{Conn, Http, Message};

/// A server that ends with the test.
pub struct Server {
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Runs `handle` for each connection, one after the other being accepted, all side by side.
    pub async fn accepting<F, Fut>(handle: F) -> Self
    where
        F: Fn(TcpStream, SocketAddr) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, peer)) = listener.accept().await {
                connections.spawn(handle(stream, peer));
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL by which a proxy speaks this version.
    pub fn url_for(&self, http: Http) -> String {
        match http {
            Http::One => self.url(),
            Http::Two => format!("h2c://{}", self.address),
        }
    }
}

/// Runs `handle` for each connection.
pub async fn raw<F, Fut>(handle: F) -> Server
where
    F: Fn(Conn) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Server::accepting(move |stream, _| handle(Conn::new(stream))).await
}

/// Answers every request with the same bytes, and tells of each request.
pub async fn canned(response: impl Into<Vec<u8>>) -> (Server, mpsc::UnboundedReceiver<Message>) {
    let response = response.into();
    let (seen, requests) = mpsc::unbounded_channel();
    let server = raw(move |mut conn| {
        let (seen, response) = (seen.clone(), response.clone());
        async move {
            while let Some(request) = conn.request().await {
                let _ = seen.send(request);
                conn.send(&response).await;
            }
        }
    });
    (server.await, requests)
}

/// A server of HTTP/1 and HTTP/2 by prior knowledge.
pub async fn app(app: Router) -> Server {
    Server::accepting(move |stream, peer| {
        speak(
            stream,
            app.clone()
                .layer(axum::Extension(axum::extract::ConnectInfo(peer))),
        )
    })
    .await
}

/// Serves one connection, whatever version it speaks.
pub async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, app: Router) {
    speak_offering(true, stream, app).await;
}

/// As [`speak`], which offers WebSockets over HTTP/2 as `axum::serve` does, or not.
pub async fn speak_offering(
    websockets: bool,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    app: Router,
) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    if websockets {
        server.http2().enable_connect_protocol();
    }
    let service = TowerToHyperService::new(app);
    let _ = server
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

/// An address that refuses connections. The listener is bound and never listens, so nobody else gets the port.
pub struct Refusing {
    pub address: SocketAddr,
    socket: socket2::Socket,
}

impl Refusing {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes connections from now on; `accept` does not wait for one.
    pub fn listen(self) -> std::net::TcpListener {
        self.socket.listen(16).unwrap();
        self.socket.set_nonblocking(true).unwrap();
        self.socket.into()
    }
}

pub fn refusing() -> Refusing {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    Refusing { address, socket }
}
