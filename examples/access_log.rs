//! A line per exchange, in JSON or in the Common Log Format, written by a thread that no request waits for.
//!
//! Run with
//!
//! ```text
//! cargo run --example access_log
//! curl http://127.0.0.1:8080/?page=2&token=secret
//! curl --max-time 0.5 http://127.0.0.1:8080/slow
//! curl http://127.0.0.1:8080/healthz
//! ```
//!
//! The second request is given up by its client: it is logged as a 499, with the endpoint that was too slow. The third
//! one reaches no endpoint. Stop with Ctrl-C: the last lines are written. With `common` as an argument, the lines are
//! those of other web servers.

use std::{env, net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo, routing::get};
use axum_upstream::{
    BoxError, LoadBalance, ReverseProxy,
    access_log::{AccessLogFormat, AccessLogLayer},
};
use tokio::{
    net::TcpListener,
    signal,
    time::{sleep, timeout},
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let is_common = env::args().any(|argument| argument == "common");
    let format = match is_common {
        true => AccessLogFormat::Common,
        false => AccessLogFormat::Json,
    };
    let access_log = AccessLogLayer::builder(format)
        // Of the query, only what is named here is logged: the rest may be secret.
        .query_fields(["page"])
        // The proxy finds the client's address by itself. This is for requests that do not reach it.
        .client_address(|extensions| {
            let info = extensions.get::<ConnectInfo<SocketAddr>>()?;
            Some(info.0.ip())
        })
        .build()?;

    let backends = LoadBalance::builder()
        .name("backends")
        .urls([backend().await?, backend().await?])?;
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback_service(ReverseProxy::new(backends))
        .layer(access_log.clone());

    let listen = env::args().nth(1).filter(|argument| argument != "common");
    let listener = TcpListener::bind(listen.unwrap_or_else(|| "127.0.0.1:8080".into())).await?;
    // Standard output has nothing but the log.
    eprintln!("try: curl http://{}/", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(async { drop(signal::ctrl_c().await) })
        .await?;
    // A pipe whose reader sleeps must not keep the program from ending.
    let _ = timeout(Duration::from_secs(1), access_log.flush()).await;
    Ok(())
}

/// Starts a server. Returns its URL.
async fn backend() -> Result<String, BoxError> {
    let app = Router::new()
        .route("/slow", get(|| sleep(Duration::from_secs(60))))
        .fallback(async || "hello\n");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
