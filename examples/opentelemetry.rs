//! Traces by OpenTelemetry: a span for the request, one for each attempt, and the trace goes on at the server.
//!
//! Run with
//!
//! ```text
//! cargo run --example opentelemetry --features opentelemetry
//! curl http://127.0.0.1:8080/
//! curl -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' http://127.0.0.1:8080/
//! ```
//!
//! The spans are printed, and each response shows the `traceparent` that the server was sent. The first of three servers
//! cannot be reached, so some requests have a second attempt. With a collector, they are sent to it:
//!
//! ```text
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 cargo run --example opentelemetry --features opentelemetry
//! ```

use std::{env, net::SocketAddr};

use axum::{Router, http::HeaderMap};
use axum_upstream::{BoxError, LoadBalance, ReverseProxy, policy::RoundRobin};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tokio::{net::TcpListener, signal};
use tracing::Level;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let provider = traces()?;

    // Nothing listens on port 1.
    let urls = [
        "http://127.0.0.1:1".into(),
        backend().await?,
        backend().await?,
    ];
    let backends = LoadBalance::builder()
        .name("backends")
        .policy(RoundRobin)
        .urls(urls)?;
    let app = Router::new().fallback_service(ReverseProxy::new(backends));

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    println!("try: curl http://{}/", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(async { drop(signal::ctrl_c().await) })
        .await?;
    // Spans that have not been sent yet.
    provider.shutdown()?;
    Ok(())
}

/// Has spans exported to the collector of `OTEL_EXPORTER_OTLP_ENDPOINT`, or printed, and trace context read and sent as
/// W3C Trace Context.
fn traces() -> Result<SdkTracerProvider, BoxError> {
    let resource = Resource::builder().with_service_name("proxy").build();
    let provider = SdkTracerProvider::builder().with_resource(resource);
    let provider = match env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT") {
        Some(_) => {
            let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic();
            provider.with_batch_exporter(exporter.build()?)
        }
        None => provider.with_simple_exporter(opentelemetry_stdout::SpanExporter::default()),
    };
    let provider = provider.build();
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());

    // The spans are at DEBUG. Without a filter, everything that the libraries log would be part of them.
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("axum_upstream"))
        .with_filter(Targets::new().with_target("axum_upstream", Level::DEBUG));
    tracing_subscriber::registry().with(spans).init();
    Ok(provider)
}

/// Starts a server that says what it knows of the trace. Returns its URL.
async fn backend() -> Result<String, BoxError> {
    let app = Router::new().fallback(async |fields: HeaderMap| {
        let parent = fields.get("traceparent").and_then(|it| it.to_str().ok());
        format!("{}\n", parent.unwrap_or("no trace"))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
