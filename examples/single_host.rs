//! One server behind a reverse proxy: what Go's `httputil.NewSingleHostReverseProxy` does.
//!
//! Run with
//!
//! ```text
//! cargo run --example single_host
//! curl -i 'http://127.0.0.1:8080/hello?name=ada'
//! ```
//!
//! It starts a small backend of its own. To use yours, name it after the address to listen on:
//!
//! ```text
//! cargo run --example single_host -- 0.0.0.0:8080 http://127.0.0.1:5000
//! ```

use std::{env, net::SocketAddr};

use axum::{Router, extract::Request};
use axum_upstream::{BoxError, ReverseProxy};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut args = env::args().skip(1);
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let url = match args.next() {
        Some(url) => url,
        None => backend().await?,
    };

    // A fallback gets the requests that no route matches: without any route, all of them.
    let app = Router::new().fallback_service(ReverseProxy::to(&url)?);

    let listener = TcpListener::bind(listen).await?;
    println!("{url} is behind this proxy");
    println!(
        "try: curl -i 'http://{}/hello?name=ada'",
        listener.local_addr()?
    );
    // `ConnectInfo` has the client's address, which the proxy sends as `X-Forwarded-For`.
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Starts a server that answers with what it received. Returns its URL.
async fn backend() -> Result<String, BoxError> {
    let app = Router::new().fallback(|request: Request| async move {
        format!(
            "{} {}\n{:#?}\n",
            request.method(),
            request.uri(),
            request.headers()
        )
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
