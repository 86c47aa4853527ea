//! A status page beside a proxy, behind a password: three servers in this process, of which one fails now and then.
//!
//! Run with
//!
//! ```text
//! cargo run --example status --features status
//! ```
//!
//! and open <http://127.0.0.1:3000/admin/> (user `admin`, password `secret`). The page can drain servers, restore them
//! and change their weights.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use axum_upstream::{BoxError, EndpointSpec, LoadBalance, ReverseProxy, status::StatusRouter};
use http::Request;
use tokio::time::interval;
use tower::ServiceExt;
use tower_http::validate_request::ValidateRequestHeaderLayer;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let servers = ["ada", "grace", "edsger"].map(|name| EndpointSpec::new(name, server(name)));
    let backends = LoadBalance::builder().name("demo").endpoints(servers)?;

    let status = StatusRouter::default()
        .cluster(&backends)
        .actions(true)
        .into_router();
    #[allow(deprecated, reason = "one password will do for an example")]
    let auth = ValidateRequestHeaderLayer::basic("admin", "secret");
    let app = Router::new()
        .nest_service("/admin/", status.layer(auth))
        .fallback_service(ReverseProxy::new(backends.clone()));

    tokio::spawn(send_load(backends));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("open http://127.0.0.1:3000/admin/ as admin with the password secret");
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// A server in this process. One of them answers 503 for ten of forty seconds.
fn server(name: &'static str) -> Router {
    static SECONDS: AtomicU64 = AtomicU64::new(0);
    if name == "grace" {
        tokio::spawn(async {
            let mut seconds = interval(Duration::from_secs(1));
            loop {
                seconds.tick().await;
                SECONDS.fetch_add(1, Relaxed);
            }
        });
    }
    let answer = move || async move {
        match name == "grace" && SECONDS.load(Relaxed) % 40 >= 30 {
            true => (StatusCode::SERVICE_UNAVAILABLE, "not now\n".to_owned()),
            false => (StatusCode::OK, format!("hello from {name}\n")),
        }
    };
    Router::new().fallback(get(answer))
}

/// Sends a hundred requests a second.
async fn send_load(backends: LoadBalance<Router>) {
    let mut ticks = interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        let _ = backends.clone().oneshot(Request::default()).await;
    }
}
