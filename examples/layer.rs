//! The proxy as a layer: requests for `/api` go to two backends, all others stay with the app.
//!
//! Run with
//!
//! ```text
//! cargo run --example layer
//! curl -i http://127.0.0.1:8080/api/users
//! curl -i http://127.0.0.1:8080/
//! ```

use std::{env, net::SocketAddr};

use axum::{
    Router,
    http::{StatusCode, Uri},
    routing::get,
};
use axum_upstream::{BoxError, LoadBalance, ProxyLayer};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let backends = LoadBalance::new([backend("ada").await?, backend("grace").await?])?;

    // `Router::layer` wraps the routes and the fallback that have been added before, so it comes last.
    let app = Router::new()
        .route("/", get(|| async { "the app's home page\n" }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "the app has no such page\n") })
        .layer(ProxyLayer::new(backends).path_prefix("/api"));

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    println!("try: curl -i http://{}/api/users", listener.local_addr()?);
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
