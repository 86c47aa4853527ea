//! Spans of `tracing`: what they say, inside of which they are, and when they end.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use axum::{Router, routing::any};
use axum_upstream::{Body, EndpointSpec, LoadBalance, ReverseProxy, endpoint::BoxService};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{Service, ServiceExt, service_fn};
use tracing::level_filters::LevelFilter;

use crate::support::{
    Conn, eventually,
    proxy::{self, OK},
    server,
    spans::Spans,
    within,
};

const DEBUG: LevelFilter = LevelFilter::DEBUG;

fn get(uri: &str) -> Request<Body> {
    let request = Request::get(uri).header("host", "example.com:8080");
    request.body(Body::empty()).unwrap()
}

/// An endpoint that answers with these statuses in turn.
fn answering(
    name: &str,
    nth: &Arc<AtomicUsize>,
    statuses: &'static [u16],
) -> EndpointSpec<BoxService> {
    let nth = nth.clone();
    let service = service_fn(move |_: Request<Body>| {
        let status = statuses[nth.fetch_add(1, Relaxed) % statuses.len()];
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    EndpointSpec::new(name, service).boxed()
}

/// A cluster of two endpoints that answer with these statuses in turn, whichever is asked.
fn cluster(statuses: &'static [u16]) -> LoadBalance<BoxService> {
    let nth = Arc::default();
    let endpoints = ["a", "b"].map(|name| answering(name, &nth, statuses));
    let builder = LoadBalance::builder().name("api").seed(1);
    builder.endpoints(endpoints).unwrap()
}

async fn send<S>(proxy: ReverseProxy<S>, request: Request<Body>) -> Response<axum::body::Bytes>
where
    ReverseProxy<S>:
        Service<Request<Body>, Response = axum::response::Response, Error = Infallible>,
{
    let response = proxy.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn a_request_and_its_attempt_say_what_the_conventions_ask_for() {
    within(async {
        let (server, _requests) = server::canned(OK).await;
        let url = format!("{}/base", server.url());
        let balance = LoadBalance::builder().name("api").urls([&url]).unwrap();
        let (spans, _guard) = Spans::capture(DEBUG);
        let proxy = ReverseProxy::new(balance).client_addr(([192, 0, 2, 7], 4711).into());
        let mut request = get("/users/7");
        request
            .headers_mut()
            .insert("user-agent", "curl/8".parse().unwrap());
        send(proxy, request).await;

        let all = spans.all();
        assert_eq!(all.len(), 2, "{all:#?}");
        let port = server.address.port().to_string();
        for (span, fields) in all.iter().zip([
            &[
                ("otel.kind", "server"),
                ("otel.name", "GET"),
                ("http.request.method", "GET"),
                ("url.scheme", "http"),
                ("url.path", "/users/7"),
                ("server.address", "example.com"),
                ("server.port", "8080"),
                ("client.address", "192.0.2.7"),
                ("network.protocol.version", "1.1"),
                ("user_agent.original", "curl/8"),
                ("http.response.status_code", "200"),
            ][..],
            &[
                ("otel.kind", "client"),
                ("otel.name", "GET"),
                ("http.request.method", "GET"),
                ("server.address", "127.0.0.1"),
                ("server.port", &port),
                ("url.full", &format!("{url}/users/7")),
                ("axum_upstream.cluster", "api"),
                ("axum_upstream.endpoint", &url),
                ("http.response.status_code", "200"),
            ],
        ]) {
            let expected = fields
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()));
            assert_eq!(span.fields, expected.collect());
            assert!(span.closed);
        }
        assert_eq!((all[0].name, all[0].parent), ("request", None));
        assert_eq!((all[1].name, all[1].parent), ("attempt", Some(0)));
    })
    .await;
}

#[tokio::test]
async fn a_client_without_a_cluster_has_an_attempt_of_its_own() {
    within(async {
        let server = server::refusing();
        let (spans, _guard) = Spans::capture(DEBUG);
        send(ReverseProxy::to(&server.url()).unwrap(), get("/")).await;
        let attempt = &spans.all()[1];
        assert_eq!((attempt.name, attempt.parent), ("attempt", Some(0)));
        assert_eq!(attempt.field("axum_upstream.cluster"), None);
        assert_eq!(
            attempt.field("url.full").unwrap(),
            format!("{}/", server.url())
        );
        assert_eq!(attempt.field("error.type"), Some("connect"));
        assert_eq!(attempt.field("otel.status_code"), Some("ERROR"));
    })
    .await;
}

#[tokio::test]
async fn each_attempt_after_the_first_counts() {
    let (spans, _guard) = Spans::capture(DEBUG);
    let response = send(ReverseProxy::new(cluster(&[503, 200])), get("/")).await;
    assert_eq!(response.status(), 200);
    let attempts = spans.named("attempt");
    let resends: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt.field("http.request.resend_count"))
        .collect();
    assert_eq!(resends, [None, Some("1")]);
    assert_eq!(attempts[0].field("error.type"), Some("503"));
    assert_eq!(attempts[0].field("otel.status_code"), Some("ERROR"));
    assert_eq!(attempts[1].field("error.type"), None);
    assert!(attempts.iter().all(|attempt| attempt.parent == Some(0)));
    let request = &spans.all()[0];
    assert!(request.events[0].contains("trying another endpoint"));
    assert_eq!(request.field("http.response.status_code"), Some("200"));
    assert_eq!(request.field("otel.status_code"), None);
    assert!(spans.all_closed());
}

#[tokio::test]
async fn a_4xx_is_an_error_for_a_client_and_none_for_a_server() {
    let (spans, _guard) = Spans::capture(DEBUG);
    send(ReverseProxy::new(cluster(&[404])), get("/")).await;
    send(ReverseProxy::new(cluster(&[500])), get("/")).await;
    let seen: Vec<_> = spans
        .all()
        .iter()
        .map(|span| {
            (
                span.field("error.type").map(str::to_owned),
                span.field("otel.status_code").is_some(),
            )
        })
        .collect();
    let error = |status: &str| (Some(status.to_owned()), true);
    assert_eq!(
        seen,
        [(None, false), error("404"), error("500"), error("500")]
    );
}

/// Nested clusters: an inner attempt is part of the outer one, also through a service that spawns.
#[tokio::test]
async fn an_attempt_of_an_inner_cluster_is_part_of_the_outer_one() {
    let spawned = service_fn(|request: Request<Body>| async {
        let sent = tokio::spawn(cluster(&[200]).oneshot(request));
        sent.await.unwrap()
    });
    let direct = cluster(&[200]);
    for inner in [
        EndpointSpec::new("inner", spawned).boxed(),
        EndpointSpec::new("inner", direct).boxed(),
    ] {
        let (spans, _guard) = Spans::capture(DEBUG);
        let outer = LoadBalance::builder().endpoints([inner]).unwrap();
        send(ReverseProxy::new(outer), get("/")).await;
        let parents: Vec<_> = spans.all().iter().map(|span| span.parent).collect();
        assert_eq!(parents, [None, Some(0), Some(1)]);
        assert_eq!(spans.all()[2].field("http.request.resend_count"), None);
    }
}

#[tokio::test]
async fn what_an_endpoint_logs_is_part_of_its_attempt() {
    let (spans, _guard) = Spans::capture(DEBUG);
    let service = service_fn(|_: Request<Body>| async {
        tracing::debug!(target: "axum_upstream::test", "head");
        let body = futures_util::stream::once(async {
            tracing::debug!(target: "axum_upstream::test", "body");
            Ok::<_, Infallible>(Frame::data("hello".into()))
        });
        Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(body))))
    });
    let balance = LoadBalance::builder().endpoints([EndpointSpec::new("one", service).boxed()]);
    send(ReverseProxy::new(balance.unwrap()), get("/")).await;
    let events = &spans.all()[1].events;
    assert!(events[0].contains("head") && events[1].contains("body"));
}

/// The application's own span is around.
#[tokio::test]
async fn a_request_is_part_of_the_span_around_the_proxy() {
    use tracing::Instrument;
    let (spans, _guard) = Spans::capture(DEBUG);
    let around = tracing::info_span!(target: "axum_upstream::test", "application");
    send(ReverseProxy::new(cluster(&[200])), get("/"))
        .instrument(around)
        .await;
    assert_eq!(spans.all()[1].name, "request");
    assert_eq!(spans.all()[1].parent, Some(0));
}

#[tokio::test]
async fn no_secret_is_in_a_span_or_in_what_is_logged_in_it() {
    within(async {
        let server = server::refusing();
        let (spans, _guard) = Spans::capture(LevelFilter::TRACE);
        let mut request = get("/login?password=SECRET&token=SECRET");
        for name in [
            "authorization",
            "cookie",
            "proxy-authorization",
            "referer",
            "x-api-key",
        ] {
            let value = "SECRET".parse().unwrap();
            request.headers_mut().insert(name, value);
        }
        let balance = LoadBalance::new([server.url()]).unwrap();
        send(ReverseProxy::new(balance), request).await;
        let all = spans.all();
        assert!(
            all.len() > 1 && !format!("{all:?}").contains("SECRET"),
            "{all:#?}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_unknown_method_is_one_of_a_kind() {
    let (spans, _guard) = Spans::capture(DEBUG);
    let mut request = get("/");
    *request.method_mut() = http::Method::from_bytes(b"PURGE").unwrap();
    send(ReverseProxy::new(cluster(&[200])), request).await;
    for span in spans.all() {
        assert_eq!(span.field("http.request.method"), Some("_OTHER"));
        assert_eq!(span.field("http.request.method_original"), Some("PURGE"));
        assert_eq!(span.field("otel.name"), Some("HTTP"));
    }
}

/// A cluster whose endpoint answers with a body that the test feeds.
fn streaming() -> (LoadBalance<BoxService>, mpsc::UnboundedSender<&'static str>) {
    let (feed, frames) = mpsc::unbounded_channel();
    let frames = Arc::new(std::sync::Mutex::new(Some(frames)));
    let service = service_fn(move |_: Request<Body>| {
        use futures_util::StreamExt;
        let frames = UnboundedReceiverStream::new(frames.lock().unwrap().take().unwrap());
        let frames = frames.map(|text: &str| Ok::<_, Infallible>(Frame::data(text.into())));
        async { Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(frames)))) }
    });
    let balance = LoadBalance::builder().endpoints([EndpointSpec::new("one", service).boxed()]);
    (balance.unwrap(), feed)
}

#[tokio::test]
async fn spans_end_with_the_last_byte() {
    let (spans, _guard) = Spans::capture(DEBUG);
    let (balance, feed) = streaming();
    let response = ReverseProxy::new(balance).oneshot(get("/")).await.unwrap();
    let info: axum_upstream::Info = response.extensions().get().cloned().unwrap();
    let mut body = response.into_body();
    feed.send("hello").unwrap();
    body.frame().await.unwrap().unwrap();
    assert!(spans.all().iter().all(|span| !span.closed));
    drop(feed);
    assert!(body.frame().await.is_none());
    assert!(spans.all()[1].closed, "the attempt has ended");
    drop(body);
    assert!(spans.all_closed(), "although its `Info` is still there");
    assert_eq!(info.error(), None);
}

#[tokio::test]
async fn spans_end_when_the_client_leaves_during_the_body() {
    let (spans, _guard) = Spans::capture(DEBUG);
    let (balance, _feed) = streaming();
    let response = ReverseProxy::new(balance).oneshot(get("/")).await.unwrap();
    drop(response);
    for span in spans.all() {
        assert!(span.closed);
        assert_eq!(span.field("error.type"), Some("client_gone"));
        assert_eq!(span.field("http.response.status_code"), Some("200"));
        assert_eq!(span.field("otel.status_code"), None);
    }
}

#[tokio::test]
async fn spans_end_when_the_client_leaves_before_the_head() {
    let (spans, _guard) = Spans::capture(DEBUG);
    let pending =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let mut sent = Box::pin(ReverseProxy::new(pending).oneshot(get("/")));
    assert!(sent.as_mut().now_or_never().is_none());
    assert!(!spans.all_closed());
    drop(sent);
    let request = &spans.all()[0];
    assert!(request.closed && request.events[0].contains("the client went away"));
    assert_eq!(request.field("error.type"), Some("client_gone"));
    assert_eq!(request.field("http.response.status_code"), None);
}

#[tokio::test]
async fn an_error_ends_the_spans_with_its_kind() {
    let (spans, _guard) = Spans::capture(DEBUG);
    let nothing: [&str; 0] = [];
    let response = send(
        ReverseProxy::new(LoadBalance::new(nothing).unwrap()),
        get("/"),
    )
    .await;
    assert_eq!(response.status(), 503);
    let request = &spans.all()[0];
    assert!(request.closed && request.events[0].contains("request failed"));
    assert_eq!(request.field("error.type"), Some("no_endpoint"));
    assert_eq!(request.field("http.response.status_code"), Some("503"));
    assert_eq!(request.field("otel.status_code"), Some("ERROR"));
}

#[tokio::test]
async fn a_request_that_is_refused_has_a_span() {
    let (spans, _guard) = Spans::capture(DEBUG);
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = send(ReverseProxy::new(cluster(&[200])), request).await;
    assert_eq!(response.status(), 400);
    let all = spans.all();
    assert!(all.len() == 1 && all[0].closed && all[0].events[0].contains("request refused"));
    assert_eq!(all[0].field("http.response.status_code"), Some("400"));
    assert!(all[0].field("error.type").is_some());
    assert_eq!(
        all[0].field("otel.status_code"),
        None,
        "the client's mistake"
    );
}

#[tokio::test]
async fn the_spans_of_a_tunnel_end_with_it() {
    within(async {
        let (spans, _guard) = Spans::capture(DEBUG);
        let server = server::raw(|mut conn| async move {
            conn.head().await;
            let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            conn.send(agreed).await;
            conn.rest().await;
        })
        .await;
        let balance = LoadBalance::new([server.url()]).unwrap();
        let proxy = proxy::serve(ReverseProxy::new(balance)).await;
        let mut client = Conn::connect(proxy.address).await;
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        client.head().await.unwrap();
        assert_eq!(spans.all().len(), 2);
        assert!(spans.all().iter().all(|span| !span.closed));
        client.finish().await;
        eventually(|| spans.all_closed()).await;
        for span in spans.all() {
            assert_eq!(span.field("http.response.status_code"), Some("101"));
            assert_eq!(span.field("error.type"), None);
        }
        assert!(spans.all()[0].events[0].contains("tunnel closed"));
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_for_less_gets_no_spans() {
    let (spans, _guard) = Spans::capture(LevelFilter::INFO);
    send(ReverseProxy::new(cluster(&[200])), get("/")).await;
    assert_eq!(spans.all().len(), 0);
}

/// Without the feature, and without OpenTelemetry's layer: the fields are the client's affair.
#[tokio::test]
async fn trace_context_passes_through() {
    within(async {
        let (_spans, _guard) = Spans::capture(DEBUG);
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let server = server::app(Router::new().fallback(any(
            |headers: http::HeaderMap| async move {
                let all = |name| {
                    headers
                        .get_all(name)
                        .iter()
                        .map(|value| value.to_str().unwrap())
                };
                let all: Vec<_> = all("traceparent").chain(all("tracestate")).collect();
                all.join(" ")
            },
        )));
        let server = server.await;
        let mut request = get("/");
        request
            .headers_mut()
            .insert("traceparent", parent.parse().unwrap());
        for state in ["a=1", "b=2"] {
            request
                .headers_mut()
                .append("tracestate", state.parse().unwrap());
        }
        let balance = LoadBalance::new([server.url()]).unwrap();
        let seen = send(ReverseProxy::new(balance), request).await;
        assert_eq!(seen.body(), &format!("{parent} a=1 b=2"));
    })
    .await;
}
