//! An error page for requests that fail between the proxy and its endpoints.
//!
//! Run with
//!
//! ```text
//! cargo run --example error_page
//! curl -i http://127.0.0.1:8080/
//! curl -i http://127.0.0.1:8080/slow
//! curl -i http://127.0.0.1:8080/nobody
//! ```
//!
//! The three fail in different ways: a refused connection (502), a response timeout (504), no endpoint (503).

use std::{env, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use axum_upstream::{BoxError, Error, LoadBalance, ReverseProxy, Side};
use tokio::{net::TcpListener, time::sleep};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // The cause goes to the log. The page must not contain it, since it names addresses inside the network.
    tracing_subscriber::fmt().init();

    let slow = ReverseProxy::to(&backend().await?)?.response_timeout(Duration::from_millis(500));
    let nobody = LoadBalance::new([""; 0])?;
    let app = Router::new()
        .route_service("/slow", slow.on_error(page))
        .route_service("/nobody", ReverseProxy::new(nobody).on_error(page))
        // Nothing listens on this port.
        .fallback_service(ReverseProxy::to("http://127.0.0.1:1")?.on_error(page));

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("try: curl -i http://{address}/");
    println!("     curl -i http://{address}/slow");
    println!("     curl -i http://{address}/nobody");
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Puts a page into the response that the proxy has made, and keeps its status and fields, such as `Retry-After`.
fn page(error: &Error, mut response: Response) -> Response {
    let text = match error.side() {
        // The client's own mistake, such as a malformed request: the proxy's short text is enough.
        Side::Downstream => return response,
        _ if error.is_timeout() => "That took too long. Please try again.",
        _ => "We will be back soon.",
    };
    let html = format!(
        "<!doctype html>\n<title>{}</title>\n<h1>{text}</h1>\n",
        response.status()
    );
    *response.body_mut() = Body::from(html);
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

/// Starts a server that takes a minute to answer. Returns its URL.
async fn backend() -> Result<String, BoxError> {
    let app = Router::new().fallback(async || sleep(Duration::from_secs(60)).await);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
