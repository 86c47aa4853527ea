//! A cluster of two servers and a router in this process: an endpoint may be any `tower::Service`.
//!
//! Run with
//!
//! ```text
//! cargo run --example in_process
//! curl -i http://127.0.0.1:8080/
//! ```
//!
//! Repeat the request a few times: all three answer.

use std::{env, net::SocketAddr};

use axum::Router;
use axum_upstream::{BoxError, EndpointSpec, LoadBalance, ReverseProxy};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // A cluster has one type of service. Boxing makes one of several.
    let backends = LoadBalance::builder().endpoints([
        EndpointSpec::url(&backend("ada").await?)?.boxed(),
        EndpointSpec::url(&backend("grace").await?)?.boxed(),
        EndpointSpec::new("in-process", router("the router in this process")).boxed(),
    ])?;
    let app = Router::new().fallback_service(ReverseProxy::new(backends));

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    println!("try: curl -i http://{}/", listener.local_addr()?);
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Returns a router that answers with its name.
fn router(name: &'static str) -> Router {
    Router::new().fallback(move || async move { format!("hello from {name}\n") })
}

/// Starts the same router behind a socket. Returns its URL.
async fn backend(name: &'static str) -> Result<String, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, router(name)).into_future());
    Ok(url)
}
