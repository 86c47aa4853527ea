//! WebSockets through the proxy, which need no setting. Server, proxy and client all run in this program.
//!
//! Run with
//!
//! ```text
//! cargo run --example websocket
//! ```
//!
//! It says hello, prints the echo, and ends.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    routing::get,
};
use axum_upstream::{BoxError, ReverseProxy};
use futures_util::{SinkExt, TryStreamExt};
use tokio::net::TcpListener;
use tokio_tungstenite::connect_async;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let app = Router::new().fallback_service(ReverseProxy::to(&backend().await?)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());

    let (mut socket, response) = connect_async(format!("ws://{address}/chat")).await?;
    println!("the proxy answered {}", response.status());
    socket.send("hello".into()).await?;
    if let Some(echo) = socket.try_next().await? {
        println!("the echo is {:?}", echo.to_text()?);
    }
    socket.close(None).await?;
    Ok(())
}

/// Starts a server with a WebSocket at `/chat`. Returns its URL.
async fn backend() -> Result<String, BoxError> {
    let upgrade = async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo);
    let app = Router::new().route("/chat", get(upgrade));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}

/// Sends every text back until the client closes the socket.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(Message::Text(text))) = socket.recv().await {
        if socket.send(Message::Text(text)).await.is_err() {
            break;
        }
    }
}
