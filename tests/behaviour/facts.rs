//! What `Info` tells of an exchange beside its outcome: times, bytes, names.

use std::time::Duration;

use axum::{Router, routing::post};
use axum_upstream::{Body, EndpointSpec, Info, LoadBalance, ReverseProxy, upstream::Client};
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::time::{advance, sleep};
use tower::{Service, ServiceExt, service_fn};

use crate::support::{direct, server, within};

const STEP: Duration = Duration::from_millis(250);

fn info<B>(response: &Response<B>) -> Info {
    response.extensions().get::<Info>().unwrap().clone()
}

/// A balancer over one endpoint whose head takes a step, and whose body takes another.
fn slow() -> LoadBalance<axum_upstream::endpoint::BoxService> {
    let service = service_fn(|_: Request<Body>| async {
        sleep(STEP).await;
        let body = futures_util::stream::once(async {
            sleep(STEP).await;
            Ok::<_, axum_upstream::BoxError>(http_body::Frame::data("hello".into()))
        });
        let body = Body::new(http_body_util::StreamBody::new(body));
        Ok::<_, axum_upstream::BoxError>(Response::new(body))
    });
    LoadBalance::builder()
        .name("api")
        .endpoints([EndpointSpec::new("one", service).boxed()])
        .unwrap()
}

fn get() -> Request<Body> {
    Request::get("/")
        .header("host", "a")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_times_of_an_attempt_are_those_of_its_head_and_its_last_byte() {
    let mut proxy = ReverseProxy::new(slow());
    let response = proxy.call(get()).await.unwrap();
    let info = info(&response);
    let attempt = info.attempts().next().unwrap();
    assert_eq!(
        (info.cluster(), attempt.cluster()),
        (Some("api"), Some("api"))
    );
    assert_eq!(info.status().unwrap(), 200);
    assert_eq!(attempt.started(), Duration::ZERO);
    assert_eq!(attempt.time_to_head(), Some(STEP));
    assert_eq!(attempt.connected(), None, "a service has no connection");
    assert_eq!((attempt.duration(), info.duration()), (None, None));
    let ended = tokio::spawn({
        let info = info.clone();
        async move { info.ended().await }
    });
    response.into_body().collect().await.unwrap();
    ended.await.unwrap();
    assert_eq!(attempt.duration(), Some(2 * STEP));
    assert_eq!(info.duration(), Some(2 * STEP));
    assert_eq!((info.response_bytes(), attempt.response_bytes()), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn an_exchange_ends_when_its_client_leaves() {
    let mut proxy = ReverseProxy::new(slow());
    let response = proxy.call(get()).await.unwrap();
    let info = info(&response);
    advance(STEP).await;
    drop(response);
    info.ended().await;
    assert_eq!(info.duration(), Some(2 * STEP));
    assert_eq!(info.response_bytes(), 0);
}

/// A balancer or a client that is used without a proxy ends its exchanges itself.
#[tokio::test(start_paused = true)]
async fn an_exchange_without_a_proxy_ends_with_its_body() {
    let response = slow().oneshot(get()).await.unwrap();
    let info = info(&response);
    assert_eq!((info.status(), info.duration()), (None, None));
    response.into_body().collect().await.unwrap();
    info.ended().await;
    assert_eq!(info.duration(), Some(2 * STEP));
}

#[tokio::test]
async fn an_error_has_an_end_as_well() {
    let nothing: [&str; 0] = [];
    let mut proxy = ReverseProxy::new(LoadBalance::new(nothing).unwrap());
    let response = proxy.call(get()).await.unwrap();
    let info = info(&response);
    assert_eq!(info.status().unwrap(), 503);
    assert!(info.duration().is_some());
    info.ended().await;
}

#[tokio::test]
async fn a_connection_is_new_and_then_reused_and_bytes_are_counted_both_ways() {
    within(async {
        let server =
            server::app(Router::new().route("/", post(|body: String| async { body }))).await;
        let client = Client::builder().build(&server.url()).unwrap();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let response = client
                .clone()
                .oneshot(direct::post("twelve bytes"))
                .await
                .unwrap();
            let info = info(&response);
            response.into_body().collect().await.unwrap();
            info.ended().await;
            let attempt = info.attempts().next().unwrap();
            assert!(attempt.connected().unwrap() <= attempt.time_to_head().unwrap());
            assert!(attempt.time_to_head() <= attempt.duration());
            seen.push((
                attempt.is_reused(),
                info.request_bytes(),
                attempt.response_bytes(),
            ));
        }
        assert_eq!(seen, [(false, 12, 12), (true, 12, 12)]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn server_timing_is_for_those_who_are_trusted() {
    let mut proxy =
        ReverseProxy::new(slow()).server_timing(|request| request.headers.contains_key("x-staff"));
    let response = proxy.call(get()).await.unwrap();
    assert!(!response.headers().contains_key("server-timing"));
    let mut request = get();
    request
        .headers_mut()
        .insert("x-staff", "1".parse().unwrap());
    let response = proxy.call(request).await.unwrap();
    assert_eq!(
        response.headers()["server-timing"],
        "wait;dur=0.000, upstream;dur=250.000"
    );
}

/// A hedged request is that of the attempt that was answered first, also if the other one began later.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_lost_is_not_what_the_exchange_was() {
    let service = |wait: Duration| {
        service_fn(move |_: Request<Body>| async move {
            sleep(wait).await;
            let body = futures_util::stream::once(async move {
                sleep(wait).await;
                Ok::<_, axum_upstream::BoxError>(http_body::Frame::data("hello".into()))
            });
            let body = Body::new(http_body_util::StreamBody::new(body));
            Ok::<_, axum_upstream::BoxError>(Response::new(body))
        })
    };
    let balance = LoadBalance::builder()
        .policy(axum_upstream::policy::RoundRobin)
        .hedge(axum_upstream::retry::Hedge::after(STEP / 2).unwrap())
        .endpoints([
            EndpointSpec::new("first", service(STEP)).boxed(),
            EndpointSpec::new("second", service(8 * STEP)).boxed(),
        ])
        .unwrap();
    let mut proxy = ReverseProxy::new(balance);
    let response = proxy.call(get()).await.unwrap();
    let info = info(&response);
    let names: Vec<_> = info.attempts().map(|attempt| attempt.endpoint()).collect();
    assert_eq!(
        (&names[..], info.endpoint()),
        (&["first", "second"][..], Some("first"))
    );
    response.into_body().collect().await.unwrap();
    assert_eq!((info.error(), info.duration()), (None, Some(2 * STEP)));
}
