//! A WebSocket through the proxy, over TLS and HTTP/2, with the browser's own implementation of RFC 8441.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::{
        Request, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    middleware::{Next, from_fn},
    response::{Html, IntoResponse},
    routing::{any, get},
};
use axum_upstream::ReverseProxy;
use serde_json::{Value, json};

use crate::{
    browser::{Browser, SOON, until},
    servers::Server,
};

/// Opens a WebSocket, and has it closed after what it has sent has come back.
const ECHO: &str = "
    window.log = [];
    const socket = new WebSocket(`wss://${location.host}/chat`, 'chat');
    socket.onopen = () => {
        log.push(['open', socket.protocol]);
        socket.send('x'.repeat(100_000));
    };
    socket.onmessage = (event) => {
        log.push(['message', event.data.length]);
        socket.send('bye');
        socket.onmessage = (event) => log.push(['message', event.data]);
    };
    socket.onclose = (event) => log.push(['close', event.code, event.wasClean]);
    socket.onerror = () => log.push(['error']);
";

/// The page's WebSocket is a stream of the HTTP/2 connection that the page has come over; the endpoint speaks HTTP/1.1.
pub async fn websocket(browser: &Browser) -> Server {
    let endpoint = Server::start(Router::new().route("/chat", any(chat)));
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let asks = asked.clone();
    let record = from_fn(move |request: Request, next: Next| {
        let line = format!("{} {:?}", request.method(), request.version());
        asks.lock().unwrap().push(line);
        next.run(request)
    });
    let proxy = Router::new()
        .route(
            "/",
            get(|| async { Html("<!doctype html><title>chat</title>") }),
        )
        .route_service("/chat", ReverseProxy::to(&endpoint.url()).unwrap())
        .layer(record);
    let server = Server::start_tls(proxy);
    browser.go_to(&format!("{}/", server.url())).await;
    browser.run(ECHO).await;
    let expected = json!([
        ["open", "chat"],
        ["message", 100_000],
        ["message", "bye"],
        ["close", 4000, true]
    ]);
    until("the socket closes", SOON, || async {
        let log: Value = browser.run("return window.log;").await;
        match log == expected {
            true => Ok(()),
            false => Err(log.to_string()),
        }
    })
    .await;
    let asked = asked.lock().unwrap();
    // The browser may ask for an icon as well.
    assert_eq!(asked[0], "GET HTTP/2.0");
    assert!(asked.contains(&"CONNECT HTTP/2.0".to_owned()), "{asked:?}");
    assert!(!asked.iter().any(|line| line.contains("1.1")), "{asked:?}");
    server
}

async fn chat(upgrade: WebSocketUpgrade) -> impl IntoResponse {
    upgrade.protocols(["chat"]).on_upgrade(echo)
}

/// Sends everything back, and closes after `bye`.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let last = message.to_text().is_ok_and(|text| text == "bye");
        socket.send(message).await.unwrap();
        if last {
            break;
        }
    }
    let close = CloseFrame {
        code: 4000,
        reason: "said bye".into(),
    };
    let _ = socket.send(Message::Close(Some(close))).await;
    // The client closes as well, and says so.
    while let Some(Ok(_)) = socket.recv().await {}
}
