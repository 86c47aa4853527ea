//! A single-page application behind the proxy, as while it is developed: the WebSocket by which the development server
//! announces changes passes through, and what it does not know, such as a path that only the page's own router knows,
//! is answered with the page. While the server restarts, every request for a page is.
//!
//! Run with
//!
//! ```text
//! cargo run --example dev_server
//! curl -i http://127.0.0.1:8080/main.js
//! curl -i -H 'accept: text/html' http://127.0.0.1:8080/users/7
//! curl -i http://127.0.0.1:8080/missing.js
//! curl -i -X POST http://127.0.0.1:8080/stop
//! ```
//!
//! In a browser, <http://127.0.0.1:8080/> shows what comes over the WebSocket. `/stop` ends the development server.

use std::{env, fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{
        Request, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    http::{Method, StatusCode, header::ACCEPT},
    middleware::{Next, from_fn_with_state},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use axum_upstream::{BoxError, Error, ReverseProxy};
use tokio::{net::TcpListener, sync::Notify, time::sleep};

const PAGE: &str = "<!doctype html><title>page</title><pre id=log></pre><script>
new WebSocket(`ws://${location.host}/hmr`).onmessage = e => log.textContent += e.data + '\\n'
</script>\n";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let page = env::temp_dir().join("axum-upstream-dev-server.html");
    fs::write(&page, PAGE)?;
    let proxy = ReverseProxy::to(&backend().await?)?
        // Redirects and cookies of the development server lead to the proxy.
        .with_reverse_mapping();
    let app = Router::new()
        .fallback_service(proxy)
        .layer(from_fn_with_state(page, or_page));

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("try: curl -i http://{address}/main.js");
    println!("     curl -i -H 'accept: text/html' http://{address}/users/7");
    println!("     curl -i http://{address}/missing.js");
    println!("     curl -i -X POST http://{address}/stop");
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Answers with the page where the server has none, or is down. A script that is missing stays a 404: HTML in its place
/// would only be a syntax error.
async fn or_page(State(page): State<PathBuf>, request: Request, next: Next) -> Response {
    let accepts = request.headers().get_all(ACCEPT).iter();
    let is_page = matches!(*request.method(), Method::GET | Method::HEAD)
        && accepts
            .filter_map(|accepts| accepts.to_str().ok())
            .any(|accepts| accepts.contains("text/html"));
    let response = next.run(request).await;
    let error = response.extensions().get::<Arc<Error>>();
    let is_missing = match error {
        // Of the proxy: the server cannot be reached.
        Some(error) => error.is_connect(),
        None => response.status() == StatusCode::NOT_FOUND,
    };
    match (is_page && is_missing).then(|| fs::read_to_string(page)) {
        Some(Ok(page)) => Html(page).into_response(),
        Some(Err(_)) | None => response,
    }
}

/// Starts a development server, which `POST /stop` ends. Returns its URL.
async fn backend() -> Result<String, BoxError> {
    let stop = Arc::<Notify>::default();
    let stopped = stop.clone();
    let app = Router::new()
        .route("/main.js", get(|| async { "console.log('hello')\n" }))
        .route(
            "/hmr",
            get(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(changes)),
        )
        .route("/stop", post(move || async move { stop.notify_one() }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let server =
        axum::serve(listener, app).with_graceful_shutdown(async move { stopped.notified().await });
    tokio::spawn(server.into_future());
    Ok(url)
}

/// Announces a change each second until the client closes the socket.
async fn changes(mut socket: WebSocket) {
    for n in 1.. {
        let message = Message::Text(format!("change {n}").into());
        if socket.send(message).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
}
