//! Proxies at single routes: two backends share `/api`, an old server gets `/legacy`, and the app the rest.
//!
//! Run with
//!
//! ```text
//! cargo run --example route_level
//! curl -i http://127.0.0.1:8080/api/users/7
//! curl -i 'http://127.0.0.1:8080/legacy/report?year=1999'
//! ```

use std::{env, net::SocketAddr};

use axum::{Router, http::Uri, routing::get};
use axum_upstream::{BoxError, LoadBalance, ReverseProxy};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let backends = LoadBalance::new([backend("ada").await?, backend("grace").await?])?;
    let legacy = format!("{}/base", backend("legacy").await?);

    let app = Router::new()
        .route("/", get(|| async { "the app's home page\n" }))
        // A route forwards the path as it is: `/api/users/7` stays `/api/users/7`. `/api/` alone does not match it.
        .route_service("/api/{*rest}", ReverseProxy::new(backends))
        // Nesting removes the prefix, and the URL's own path is put in front: `/legacy/report` becomes `/base/report`.
        .nest_service("/legacy", ReverseProxy::to(&legacy)?);

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("try: curl -i http://{address}/api/users/7");
    println!("     curl -i 'http://{address}/legacy/report?year=1999'");
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Starts a server that answers with its name and the path. Returns its URL.
async fn backend(name: &'static str) -> Result<String, BoxError> {
    let app = Router::new()
        .fallback(move |uri: Uri| async move { format!("{name} was asked for {uri}\n") });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
