//! Serves the metrics of a proxy to Prometheus, at `/metrics`.
//!
//! Run with
//!
//! ```text
//! cargo run --example metrics --features metrics
//! curl -i http://127.0.0.1:8080/
//! curl http://127.0.0.1:8080/metrics
//! ```
//!
//! One of its three backends answers every fifth request with 503, so that there are retries to be seen.
//! `docs/grafana.json` is a dashboard for these metrics.

use std::{
    env,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use axum_upstream::{BoxError, LoadBalance, ReverseProxy, metrics::DURATION_BUCKETS};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, time::interval};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // First of all: what is counted before goes nowhere.
    let metrics = install()?;

    let backends = [
        backend("ada", u32::MAX).await?,
        backend("grace", u32::MAX).await?,
        backend("edsger", 5).await?,
    ];
    let backends = LoadBalance::builder().name("demo").urls(backends)?;

    // In production, `/metrics` is for the inside only, as on a listener of its own.
    let app = Router::new()
        .route("/metrics", get(move || async move { metrics.render() }))
        .fallback_service(ReverseProxy::new(backends));

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("try: curl -i http://{address}/");
    println!("     curl http://{address}/metrics");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}

/// Installs the exporter for the whole process. Returns what renders the metrics.
fn install() -> Result<PrometheusHandle, BoxError> {
    // Without buckets, the exporter makes summaries, which cannot be added up over several proxies.
    let durations = Matcher::Suffix("_duration_seconds".into());
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(durations, &DURATION_BUCKETS)?
        .install_recorder()?;
    // Durations are kept one by one until they are put into buckets, by this or by a scrape.
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(5));
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(metrics)
}

/// Starts a server that answers with its name, and to every `failing`th request with 503. Returns its URL.
async fn backend(name: &'static str, failing: u32) -> Result<String, BoxError> {
    let requests = Arc::new(AtomicU32::new(0));
    let app = Router::new().fallback(move || async move {
        let nth = requests.fetch_add(1, Ordering::Relaxed) + 1;
        match nth % failing {
            0 => (StatusCode::SERVICE_UNAVAILABLE, "tired\n".to_owned()),
            _ => (StatusCode::OK, format!("hello from {name}\n")),
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
