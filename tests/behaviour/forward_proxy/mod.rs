//! `ForwardProxy`: tunnels, requests in absolute form, and what clients may reach.

mod connect;
mod forwarding;
mod limits;
mod policy;

use std::net::SocketAddr;

use axum_upstream::{ForwardProxy, proxy::TargetPolicy};
use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{Request, StatusCode};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpStream, task::JoinSet};

use crate::support::{Conn, Http, server::Server};

/// A policy for servers of the test: loopback, at any port.
pub fn local() -> TargetPolicy {
    TargetPolicy::new()
        .allow_networks(["127.0.0.0/8", "::1"])
        .unwrap()
        .connect_ports([1..=u16::MAX])
        .http_ports([1..=u16::MAX])
}

/// Serves a proxy as `axum::serve` does: HTTP/1 and HTTP/2, extended CONNECT among it.
pub async fn serve(proxy: ForwardProxy) -> Server {
    Server::accepting(move |stream, peer| {
        let proxy = proxy.clone().client_addr(peer);
        stream.set_nodelay(true).unwrap();
        async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http2().enable_connect_protocol();
            let service = TowerToHyperService::new(proxy);
            let _ = builder
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

/// A client's end of a tunnel, over either version.
pub enum Tunnel {
    One(Conn),
    Two {
        send: SendStream<Bytes>,
        recv: RecvStream,
        ahead: Vec<u8>,
        /// The connection.
        _driver: JoinSet<()>,
    },
}

/// The head of a CONNECT over HTTP/1.
pub fn connect_head(target: impl std::fmt::Display) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// An HTTP/2 connection by the h2 crate.
pub async fn h2_client(address: SocketAddr) -> (SendRequest<Bytes>, JoinSet<()>) {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(async move { drop(connection.await) });
    (client.ready().await.unwrap(), driver)
}

impl Tunnel {
    /// Asks a proxy for a tunnel, and returns it or the status of the refusal.
    pub async fn open(
        http: Http,
        proxy: &Server,
        target: impl std::fmt::Display,
    ) -> Result<Self, StatusCode> {
        match http {
            Http::One => {
                let mut client = Conn::connect(proxy.address).await;
                client.send(connect_head(target)).await;
                let head = client.head().await.unwrap();
                let status = StatusCode::from_bytes(&head.as_bytes()[9..12]).unwrap();
                match status.is_success() {
                    true => Ok(Self::One(client)),
                    false => Err(status),
                }
            }
            Http::Two => {
                let (mut client, driver) = h2_client(proxy.address).await;
                let request = Request::connect(target.to_string()).body(()).unwrap();
                let (response, send) = client.send_request(request, false).unwrap();
                let response = response.await.unwrap();
                match response.status().is_success() {
                    true => Ok(Self::Two {
                        send,
                        recv: response.into_body(),
                        ahead: Vec::new(),
                        _driver: driver,
                    }),
                    false => Err(response.status()),
                }
            }
        }
    }

    pub async fn send(&mut self, bytes: &'static str) {
        match self {
            Self::One(conn) => conn.send(bytes).await,
            Self::Two { send, .. } => send.send_data(bytes.into(), false).unwrap(),
        }
    }

    /// Closes the client's half.
    pub async fn finish(&mut self) {
        match self {
            Self::One(conn) => conn.finish().await,
            Self::Two { send, .. } => send.send_data(Bytes::new(), true).unwrap(),
        }
    }

    /// The next `n` bytes, or what comes before the end.
    pub async fn take(&mut self, n: usize) -> Vec<u8> {
        match self {
            Self::One(conn) => conn.take(n).await,
            Self::Two { recv, ahead, .. } => {
                while ahead.len() < n {
                    let Some(Ok(data)) = recv.data().await else {
                        break;
                    };
                    let _ = recv.flow_control().release_capacity(data.len());
                    ahead.extend_from_slice(&data);
                }
                ahead.drain(..n.min(ahead.len())).collect()
            }
        }
    }

    /// Leaves without a farewell: resets the connection, or the stream.
    pub fn abort(self) {
        match self {
            Self::One(conn) => conn.abort(),
            Self::Two { mut send, .. } => send.send_reset(h2::Reason::CANCEL),
        }
    }

    /// Everything to the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        self.take(usize::MAX).await
    }
}

/// Runs one body with a client that speaks HTTP/1 and one that speaks HTTP/2.
macro_rules! both_versions {
    ($(#[$meta:meta])* async fn $name:ident($http:ident) $body:block) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run($http: $crate::support::Http) $body

            $(#[$meta])*
            #[tokio::test]
            async fn http1() {
                $crate::support::within(run($crate::support::Http::One)).await;
            }

            $(#[$meta])*
            #[tokio::test]
            async fn http2() {
                $crate::support::within(run($crate::support::Http::Two)).await;
            }
        }
    };
}
pub(crate) use both_versions;

/// A server that greets, echoes, and says "bye" when its reader ends.
pub async fn echo(greeting: &'static str) -> Server {
    crate::support::server::raw(move |mut conn| async move {
        conn.send(greeting).await;
        loop {
            let byte = conn.take(1).await;
            if byte.is_empty() {
                break;
            }
            if !conn.try_send(byte).await {
                return;
            }
        }
        conn.try_send("bye").await;
    })
    .await
}
