//! WebSockets over either version: a client, and a server that echoes.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::ws::{WebSocket, WebSocketUpgrade},
    response::IntoResponse,
    routing::any,
};
use axum_upstream::Body;
use http::{Request, Response};
use hyper::{body::Incoming, ext::Protocol};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::protocol::Role};

use super::{Client, Http};

/// What a WebSocket of a client runs over.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A client's WebSocket, and the connection it runs over.
pub struct Socket {
    pub messages: WebSocketStream<Box<dyn Io>>,
    _client: Option<Client>,
}

/// Opens a WebSocket at `/chat` over a connection of its own.
pub async fn open(http: Http, address: SocketAddr) -> Socket {
    match http {
        Http::One => {
            let io: Box<dyn Io> = Box::new(TcpStream::connect(address).await.unwrap());
            let url = format!("ws://{address}/chat");
            Socket {
                messages: client_async(url, io).await.unwrap().0,
                _client: None,
            }
        }
        Http::Two => {
            let mut client = Client::connect(http, address).await;
            let io: Box<dyn Io> = Box::new(stream(client.send(connect("websocket")).await).await);
            Socket {
                messages: WebSocketStream::from_raw_socket(io, Role::Client, None).await,
                _client: Some(client),
            }
        }
    }
}

/// A request by extended CONNECT, for `/chat`.
pub fn connect(protocol: &'static str) -> Request<Body> {
    Request::connect("/chat")
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static(protocol))
        .body(Body::empty())
        .unwrap()
}

/// The stream that a response has opened.
pub async fn stream(response: Response<Incoming>) -> TokioIo<hyper::upgrade::Upgraded> {
    assert_eq!(response.status(), 200);
    TokioIo::new(hyper::upgrade::on(response).await.unwrap())
}

/// An application that sends every message back. A text `bye` has it close.
pub fn echo() -> Router {
    Router::new().route("/chat", any(upgrade))
}

async fn upgrade(upgrade: WebSocketUpgrade) -> impl IntoResponse {
    let mut response = upgrade.protocols(["chat"]).on_upgrade(echo_all);
    let fields = response.headers_mut();
    fields.insert("x-server", "echo".parse().unwrap());
    response
}

async fn echo_all(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let last = message.to_text().is_ok_and(|text| text == "bye");
        if last || socket.send(message).await.is_err() {
            break;
        }
    }
}
