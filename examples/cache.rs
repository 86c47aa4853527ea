//! A shared cache in front of a proxy: a miss, a hit, a validation, and a stale response while the backend is away.
//!
//! Run with
//!
//! ```text
//! cargo run --example cache --features cache
//! curl -i http://127.0.0.1:8080/          # a miss: the backend takes a second
//! curl -i http://127.0.0.1:8080/          # a hit, at once, with its Age
//! sleep 5; curl -i http://127.0.0.1:8080/ # stale: the backend confirms it by a 304
//! curl -i http://127.0.0.1:8080/own       # not stored: it has a cookie
//! curl -X POST http://127.0.0.1:8080/     # what is stored for / is gone
//! curl http://127.0.0.1:8081/             # what the cache has done; POST to it clears the cache
//! ```
//!
//! `Cache-Status` says what the cache has done about each request.

use std::{env, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use axum_upstream::{
    BoxError, LoadBalance, ReverseProxy,
    cache::{CacheHandle, CacheLayer},
};
use tokio::{net::TcpListener, time::sleep};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let cache = CacheLayer::in_memory(64 << 20)
        // While the backend is away.
        .stale_if_error(Duration::from_secs(60))
        .build();
    let handle = cache.handle();

    let backends = LoadBalance::new([backend().await?])?;
    let app = Router::new()
        .fallback_service(ReverseProxy::new(backends))
        .layer(cache);

    // Purges are for the inside only, on a listener of its own.
    let admin = Router::new()
        .route("/", get(counts).post(clear))
        .with_state(handle);
    let inside = TcpListener::bind(
        env::args()
            .nth(2)
            .unwrap_or_else(|| "127.0.0.1:8081".into()),
    );
    let inside = inside.await?;

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    println!("try: curl -i http://{}/", listener.local_addr()?);
    println!("     curl http://{}/", inside.local_addr()?);
    let (served, _) = tokio::join!(axum::serve(listener, app), axum::serve(inside, admin));
    Ok(served?)
}

async fn counts(State(cache): State<CacheHandle>) -> String {
    format!("{:#?}\n", cache.counts())
}

async fn clear(State(cache): State<CacheHandle>) -> Result<String, StatusCode> {
    let gone = cache
        .clear()
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(format!("{gone} gone\n"))
}

/// A server that takes its time.
async fn backend() -> Result<String, BoxError> {
    let app = Router::new()
        .route("/", get(slow).post(|| async {}))
        .route("/own", get(own));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}

/// A page that is fresh for five seconds, and is the same after them.
async fn slow(headers: HeaderMap) -> impl IntoResponse {
    let fields = [
        (header::CACHE_CONTROL, "max-age=5"),
        (header::ETAG, "\"1\""),
    ];
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|tag| tag == "\"1\"")
    {
        return (StatusCode::NOT_MODIFIED, fields, "");
    }
    sleep(Duration::from_secs(1)).await;
    (StatusCode::OK, fields, "it took a second\n")
}

/// A page for one client.
async fn own() -> impl IntoResponse {
    let fields = [
        (header::CACHE_CONTROL, "max-age=60"),
        (header::SET_COOKIE, "id=1"),
    ];
    (fields, "for you alone\n")
}
