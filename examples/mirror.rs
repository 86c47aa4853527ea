//! A new version is tested under real traffic: it gets a copy of each request, and its answers are compared with those
//! that clients are sent.
//!
//! Run with
//!
//! ```text
//! cargo run --example mirror
//! curl -i http://127.0.0.1:8080/
//! curl -i http://127.0.0.1:8080/price
//! curl -i http://127.0.0.1:8080/mirror
//! ```
//!
//! `/price` is where the new version differs: the program prints both answers. `/mirror` shows the counts.

use std::{env, net::SocketAddr};

use axum::{
    Router,
    http::{Uri, header::CONTENT_TYPE},
    routing::get,
};
use axum_upstream::{
    BoxError, LoadBalance, ReverseProxy,
    mirror::{Comparison, MirrorLayer},
};
use tokio::net::TcpListener;
use tower::Layer;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let present = LoadBalance::new([backend("1 EUR").await?])?;
    let candidate = LoadBalance::new([backend("1.00 EUR").await?])?;
    let mirror = MirrorLayer::new(candidate)
        // All requests here; in production a share of them.
        .ratio(1.0)?
        .matching(|head| head.method.is_safe())
        .compare([CONTENT_TYPE], told);

    let handle = mirror.handle();
    let stats = move || async move { format!("{:#?}\n", handle.stats()) };
    let app = Router::new()
        .route("/mirror", get(stats))
        .fallback_service(ReverseProxy::new(mirror.layer(present)));

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("try: curl -i http://{address}/");
    println!("     curl -i http://{address}/price");
    println!("     curl -i http://{address}/mirror");
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Prints answers that differ.
#[expect(clippy::needless_pass_by_value, reason = "what the hook is given")]
fn told(comparison: Comparison) {
    if !comparison.is_equal() {
        println!("{} {}", comparison.method, comparison.uri);
        println!("  {:?}\n  {:?}", comparison.first, comparison.second);
    }
}

/// Starts a server that knows a price. Returns its URL.
async fn backend(price: &'static str) -> Result<String, BoxError> {
    let app = Router::new()
        .route("/price", get(move || async move { format!("{price}\n") }))
        .fallback(|uri: Uri| async move { format!("hello from {uri}\n") });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
