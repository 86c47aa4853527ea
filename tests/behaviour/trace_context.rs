//! Trace context by OpenTelemetry: a request continues the trace of its client, and each attempt sends its own.

use std::sync::{Arc, Mutex};

use axum_upstream::{Body, EndpointSpec, LoadBalance, ReverseProxy, endpoint::BoxService};
use http::{HeaderMap, Request, Response, StatusCode};
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceContextExt, TracerProvider};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use tower::{ServiceExt, service_fn};
use tracing::{Instrument, subscriber::DefaultGuard};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt};

use crate::support::{proxy::OK, server, spans::subscribe, within};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Exports the spans of this thread into memory.
fn exporting() -> (InMemorySpanExporter, SdkTracerProvider, DefaultGuard) {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry()
        .with(LevelFilter::DEBUG)
        .with(layer);
    let guard = subscribe(subscriber);
    (exporter, provider, guard)
}

/// Two endpoints, of which the first that is asked fails. They keep the fields that they get.
fn cluster() -> (LoadBalance<BoxService>, Arc<Mutex<Vec<HeaderMap>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let endpoint = |name| {
        let seen = seen.clone();
        let service = service_fn(move |request: Request<Body>| {
            let mut seen = seen.lock().unwrap();
            seen.push(request.headers().clone());
            let mut response = Response::new(Body::empty());
            if seen.len() == 1 {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            async { Ok::<_, std::convert::Infallible>(response) }
        });
        EndpointSpec::new(name, service).boxed()
    };
    let balance = LoadBalance::builder().seed(1);
    let balance = balance.endpoints(["a", "b"].map(endpoint)).unwrap();
    (balance, seen)
}

fn get() -> Request<Body> {
    Request::get("/")
        .header("host", "a")
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .header("tracestate", "vendor=1")
        .body(Body::empty())
        .unwrap()
}

fn of_kind(spans: &[SpanData], kind: &SpanKind) -> Vec<SpanData> {
    let of_kind = spans.iter().filter(|span| span.span_kind == *kind);
    of_kind.cloned().collect()
}

#[tokio::test]
async fn a_request_continues_a_trace_and_each_attempt_sends_its_own_span() {
    let (exporter, _provider, _guard) = exporting();
    let (balance, seen) = cluster();
    let response = ReverseProxy::new(balance).oneshot(get()).await.unwrap();
    drop(response);

    let spans = exporter.get_finished_spans().unwrap();
    let requests = of_kind(&spans, &SpanKind::Server);
    let attempts = of_kind(&spans, &SpanKind::Client);
    assert_eq!((requests.len(), attempts.len()), (1, 2), "{spans:#?}");
    assert_eq!(requests[0].name, "GET");
    assert_eq!(
        requests[0].parent_span_id,
        SpanId::from_hex(PARENT).unwrap()
    );
    assert!(matches!(attempts[0].status, Status::Error { .. }));
    assert_eq!(attempts[1].status, Status::Unset);
    let seen = seen.lock().unwrap();
    for (attempt, fields) in attempts.iter().zip(&*seen) {
        assert_eq!(attempt.parent_span_id, requests[0].span_context.span_id());
        let own = format!("00-{TRACE}-{}-01", attempt.span_context.span_id());
        assert_eq!(fields["traceparent"], *own);
        assert_eq!(fields.get_all("traceparent").iter().count(), 1);
        assert_eq!(fields["tracestate"], "vendor=1");
    }
    assert_ne!(seen[0]["traceparent"], seen[1]["traceparent"]);
}

/// A layer of the application around has read the fields already.
#[tokio::test]
async fn a_request_is_part_of_the_trace_around_the_proxy() {
    let (exporter, _provider, _guard) = exporting();
    let (balance, _seen) = cluster();
    let around = tracing::info_span!("application");
    let own = around.context().span().span_context().clone();
    let response = ReverseProxy::new(balance).oneshot(get());
    drop(response.instrument(around).await);
    let spans = exporter.get_finished_spans().unwrap();
    let requests = of_kind(&spans, &SpanKind::Server);
    assert_eq!(requests[0].parent_span_id, own.span_id());
    assert_eq!(requests[0].span_context.trace_id(), own.trace_id());
}

/// A client sends again from a copy of the head, which must not be that from before the attempt.
#[tokio::test]
async fn what_is_sent_again_on_another_connection_has_the_span_of_its_attempt() {
    within(async {
        let (exporter, _provider, _guard) = exporting();
        let (sent, mut requests) = tokio::sync::mpsc::unbounded_channel();
        // Every connection answers once, and closes when it is given a second request.
        let server = server::raw(move |mut conn| {
            let sent = sent.clone();
            async move {
                let request = conn.request().await;
                conn.send(OK).await;
                let _ = sent.send(request);
                let _ = sent.send(conn.request().await);
            }
        });
        let server = server.await;
        let balance = LoadBalance::new([server.url()]).unwrap();
        let proxy = ReverseProxy::new(balance);
        for _ in 0..2 {
            use http_body_util::BodyExt;
            let response = proxy.clone().oneshot(get()).await.unwrap();
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap();
        }
        let spans = exporter.get_finished_spans().unwrap();
        let attempts = of_kind(&spans, &SpanKind::Client);
        assert_eq!(attempts.len(), 2);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let request = requests.recv().await.unwrap().unwrap();
            seen.push(request.field("traceparent").unwrap().to_owned());
        }
        let own = |nth: usize| format!("00-{TRACE}-{}-01", attempts[nth].span_context.span_id());
        assert_eq!(seen, [own(0), own(1), own(1)]);
    })
    .await;
}
