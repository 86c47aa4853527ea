//! Shuts down without breaking a request: after Ctrl-C or SIGTERM, requests in flight finish.
//!
//! Run with
//!
//! ```text
//! cargo run --example graceful_shutdown
//! curl -i http://127.0.0.1:8080/
//! ```
//!
//! The response takes five seconds. Press Ctrl-C in the meantime: curl still gets all of it.

use std::{env, net::SocketAddr, time::Duration};

use axum::Router;
use axum_upstream::{BoxError, ReverseProxy};
use tokio::{net::TcpListener, signal, time::sleep};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let app = Router::new().fallback_service(ReverseProxy::to(&slow_backend().await?)?);

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    println!(
        "try: curl -i http://{}/ and press Ctrl-C here before it answers",
        listener.local_addr()?
    );
    // The proxy itself needs no shutdown. axum waits for every response to end, however long that takes. It does not
    // wait for WebSockets: `ReverseProxy::close_tunnels` does.
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(stop())
    .await?;
    println!("all requests have finished");
    Ok(())
}

/// Completes at Ctrl-C or SIGTERM.
async fn stop() {
    #[cfg(unix)]
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            // Without the handler, only Ctrl-C stops the program.
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();

    tokio::select! {
        _ = signal::ctrl_c() => {}
        () = terminated => {}
    }
    println!("stopping; requests in flight may finish");
}

/// Starts a server that takes five seconds to answer. Returns its URL.
async fn slow_backend() -> Result<String, BoxError> {
    let app = Router::new().fallback(async || {
        sleep(Duration::from_secs(5)).await;
        "worth the wait\n"
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
