//! Routes by a file, beside a route of the application. Run with
//!
//! ```text
//! cargo run --example config --features config
//! curl -i http://127.0.0.1:8080/hello/world
//! ```
//!
//! The file is `examples/config.toml`. Change it while this runs: what is wrong with it is printed, and what is right
//! takes effect.

use std::{env, future::IntoFuture, net::SocketAddr};

use axum::{Router, http::Uri, routing::get};
use axum_upstream::{BoxError, config::ConfigWatch};
use tokio::net::TcpListener;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/config.toml");

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().init();
    for port in [8181, 8182] {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let hello = move |uri: Uri| async move { format!("Hello from {port}: {uri}\n") };
        tokio::spawn(axum::serve(listener, Router::new().fallback(hello)).into_future());
    }

    let live = ConfigWatch::new(FILE).on_hangup().start()?;
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback_service(live.router());

    let listen = env::args().nth(1);
    let listen = listen.unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    println!("try: curl -i http://{}/hello/world", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}
