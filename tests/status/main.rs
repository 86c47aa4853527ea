//! The status of clusters: as data, and as it is served.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    future::IntoFuture,
    sync::atomic::{AtomicU16, Ordering::Relaxed},
    time::Duration,
};

use axum::{Router, body::Body as AxumBody};
use axum_upstream::{
    Body, BoxError, EndpointSpec, Info, LoadBalance,
    endpoint::BoxService,
    status::{EndpointState, StatusRouter, TimelineKind, status_router},
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::{sync::mpsc, time::advance};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{ServiceExt, discover::Change, service_fn};

/// The status that the first of three endpoints answers with.
static FIRST: AtomicU16 = AtomicU16::new(200);

/// A cluster of three endpoints, of which one answers with a status of the test's choice.
fn three(name: &str, status: &'static AtomicU16) -> LoadBalance<BoxService> {
    let endpoint = |nth: usize| {
        let answer = move |_: Request<Body>| async move {
            let status = if nth == 0 { status.load(Relaxed) } else { 200 };
            let response = Response::builder().status(status);
            Ok::<_, BoxError>(response.body(Body::from("hello")).unwrap())
        };
        EndpointSpec::new(format!("http://10.0.0.{nth}"), service_fn(answer)).boxed()
    };
    let builder = LoadBalance::builder().name(name).seed(1);
    builder.endpoints((0..3).map(endpoint)).unwrap()
}

/// Sends so many requests, 20 ms apart.
async fn send(balance: &LoadBalance<BoxService>, count: usize) {
    for _ in 0..count {
        let response = balance.clone().oneshot(Request::default()).await.unwrap();
        response.into_body().collect().await.unwrap();
        advance(Duration::from_millis(20)).await;
    }
}

/// Sends a request to a router, and returns the response with its body.
async fn ask(router: &Router, request: Request<AxumBody>) -> (Response<()>, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        Response::from_parts(head, ()),
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

fn get(path: &str) -> Request<AxumBody> {
    Request::get(path).body(AxumBody::empty()).unwrap()
}

fn post(path: &str, body: &'static str) -> Request<AxumBody> {
    let request = Request::post(path).header("x-axum-upstream-action", "1");
    request.body(AxumBody::from(body)).unwrap()
}

async fn json(router: &Router, path: &str) -> Value {
    let (head, body) = ask(router, get(path)).await;
    assert_eq!(head.status(), 200, "{body}");
    assert_eq!(head.headers()["content-type"], "application/json");
    serde_json::from_str(&body).unwrap()
}

/// An endpoint that fails is ejected, and comes back: each with its time and its cause.
#[tokio::test(start_paused = true)]
async fn what_happens_to_an_endpoint_is_told_with_its_cause() {
    let balance = three("api", &FIRST);
    send(&balance, 60).await;
    let report = balance.status();
    assert_eq!(
        (&*report.name, report.requests, report.retries),
        ("api", 60, 0)
    );
    assert!(
        report
            .endpoints
            .iter()
            .all(|endpoint| endpoint.state == EndpointState::Usable)
    );
    let sum: u64 = report
        .endpoints
        .iter()
        .map(|endpoint| endpoint.requests)
        .sum();
    assert_eq!(sum, 60);
    let bytes: u64 = report
        .endpoints
        .iter()
        .map(|endpoint| endpoint.bytes_received)
        .sum();
    assert_eq!(bytes, 300);

    FIRST.store(503, Relaxed);
    send(&balance, 60).await;
    let report = balance.status();
    let first = &report.endpoints[0];
    assert_eq!(first.state, EndpointState::Ejected);
    assert_eq!(first.failures, 5);
    assert_eq!(first.errors.get("status"), Some(&5));
    assert_eq!(first.statuses.server_error, 5);
    assert_eq!(first.last_errors[0].message, "503 Service Unavailable");
    let cause = "5 failures in a row: 503 Service Unavailable";
    assert_eq!(first.cause.as_deref(), Some(cause));
    assert!(first.until.unwrap() > first.since.unwrap());
    assert_eq!(report.retries, 5);
    let last = report.events.last().unwrap();
    assert_eq!(
        (last.kind, last.cause.as_deref()),
        (TimelineKind::Ejected, Some(cause))
    );

    FIRST.store(200, Relaxed);
    advance(Duration::from_secs(2)).await;
    send(&balance, 10).await;
    let report = balance.status();
    assert_eq!(report.events.last().unwrap().kind, TimelineKind::Admitted);
    assert_eq!(report.endpoints[0].state, EndpointState::Usable);
    assert_eq!(report.endpoints[0].cause, None);
}

#[tokio::test(start_paused = true)]
async fn changes_by_hand_are_in_the_timeline() {
    static OK: AtomicU16 = AtomicU16::new(200);
    let balance = three("api", &OK);
    send(&balance, 10).await;
    let handle = balance.handle();
    handle.set_weight("http://10.0.0.1", 3);
    handle.set_weight("http://10.0.0.2", 0);
    assert_eq!(balance.status().endpoints[2].state, EndpointState::Draining);
    handle.restore("http://10.0.0.2");
    handle.remove("http://10.0.0.0");
    let events = balance.status().events;
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    use TimelineKind::{Drained, Removed, Restored, Weight};
    assert_eq!(kinds, [Weight, Drained, Restored, Removed]);
    assert_eq!(events[0].cause.as_deref(), Some("from 1 to 3"));
}

#[tokio::test(start_paused = true)]
async fn the_status_is_served_as_json_and_as_events() {
    static OK: AtomicU16 = AtomicU16::new(200);
    let balance = three("api", &OK);
    send(&balance, 30).await;
    let router = status_router(&balance);
    let status = json(&router, "/status.json").await;
    assert_eq!(status["actions"], false);
    let cluster = &status["clusters"][0];
    assert_eq!(
        (&cluster["name"], &cluster["requests"]),
        (&"api".into(), &30.into())
    );
    let endpoint = &cluster["endpoints"][1];
    assert_eq!(endpoint["name"], "http://10.0.0.1");
    assert_eq!(endpoint["state"], "usable");
    assert!(endpoint["p99_seconds"].is_number() && endpoint["until_unix_ms"].is_null());
    assert_eq!(endpoint["statuses"]["2xx"], endpoint["requests"]);

    let response = router.oneshot(get("/events")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    for _ in 0..2 {
        let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let event = std::str::from_utf8(&event).unwrap();
        let data = event
            .lines()
            .find_map(|line| line.strip_prefix("data: "))
            .unwrap();
        let status: Value = serde_json::from_str(data).unwrap();
        assert_eq!(status["clusters"][0]["requests"], 30);
    }
    // A server that stops need not wait for it for ever.
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_where_a_request_would_go() {
    static STATUS: AtomicU16 = AtomicU16::new(200);
    let balance = three("api", &STATUS);
    send(&balance, 30).await;
    STATUS.store(503, Relaxed);
    send(&balance, 60).await;
    let router = status_router(&balance);
    let why = json(&router, "/explain?path=/x&header=X-Tenant:blue").await;
    assert_eq!(
        (&why["cluster"], &why["policy"]),
        (&"api".into(), &"p2c".into())
    );
    let picked = why["picked"].as_str().unwrap();
    assert!(
        ["http://10.0.0.1", "http://10.0.0.2"].contains(&picked),
        "{picked}"
    );
    assert_eq!(why["endpoints"][0]["state"], "ejected");
    let cost = |nth: usize| why["endpoints"][nth]["cost"].as_f64().unwrap();
    assert!(cost(0) > cost(1));
    let before = balance.status();
    assert_eq!(
        (before.requests, before.in_flight),
        (90, 0),
        "nothing was sent"
    );

    for endpoint in 0..3 {
        balance
            .handle()
            .set_weight(&format!("http://10.0.0.{endpoint}"), 0);
    }
    let why = json(&router, "/explain").await;
    assert_eq!(why["picked"], Value::Null);
    assert_eq!(why["reason"], "no endpoint available");
    for (path, status) in [
        ("/explain?cluster=other", 404),
        ("/explain?method=G%20T", 400),
    ] {
        assert_eq!(ask(&router, get(path)).await.0.status(), status);
    }
}

/// A request that was retried says of each attempt why it went where it did.
#[tokio::test(start_paused = true)]
async fn an_attempt_says_why_if_asked() {
    let answer = |status: u16| {
        let answer = move |_: Request<Body>| async move {
            let response = Response::builder().status(status);
            Ok::<_, BoxError>(response.body(Body::empty()).unwrap())
        };
        EndpointSpec::new(status.to_string(), service_fn(answer)).boxed()
    };
    let endpoints = || [answer(503), answer(200)];
    let silent = LoadBalance::builder().endpoints(endpoints()).unwrap();
    let response = silent.oneshot(Request::default()).await.unwrap();
    let info = response.extensions().get::<Info>().unwrap();
    assert!(
        info.attempts()
            .all(|attempt| attempt.explanation().is_none())
    );

    let builder = LoadBalance::builder().explain(true).seed(1);
    let balance = builder.endpoints(endpoints()).unwrap();
    let mut probed = false;
    for _ in 0..10 {
        let response = balance.clone().oneshot(Request::default()).await.unwrap();
        let info = response.extensions().get::<Info>().unwrap();
        let mut before = Vec::new();
        for attempt in info.attempts() {
            let why = attempt.explanation().unwrap();
            assert_eq!(why.picked.as_deref(), Some(attempt.endpoint()));
            let tried = why.endpoints.iter().filter(|candidate| candidate.tried);
            let tried: Vec<_> = tried.map(|candidate| candidate.name.to_string()).collect();
            assert_eq!(tried, before);
            before.push(attempt.endpoint().to_owned());
            probed |= why.reason.starts_with("a probe");
        }
        advance(Duration::from_millis(110)).await;
    }
    assert!(probed, "the one that fails was tried until it was known");
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_changed_only_where_that_is_asked_for() {
    static OK: AtomicU16 = AtomicU16::new(200);
    let balance = three("api", &OK);
    let drain = "/endpoints/api/http%3A%2F%2F10.0.0.1/drain";
    let (head, _) = ask(&status_router(&balance), post(drain, "")).await;
    assert_eq!(head.status(), StatusCode::NOT_FOUND);

    let router = StatusRouter::default()
        .cluster(&balance)
        .actions(true)
        .into_router();
    let state = || balance.status().endpoints[1].state;
    let plain = Request::post(drain).body(AxumBody::empty()).unwrap();
    assert_eq!(ask(&router, plain).await.0.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        state(),
        EndpointState::Usable,
        "a page of another site can send that"
    );

    assert_eq!(
        ask(&router, post(drain, "")).await.0.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(state(), EndpointState::Draining);
    let status = json(&router, "/status.json").await;
    assert_eq!(status["clusters"][0]["endpoints"][1]["state"], "draining");
    let restore = drain.replace("drain", "restore");
    assert_eq!(
        ask(&router, post(&restore, "")).await.0.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(state(), EndpointState::Usable);
    let weight = drain.replace("drain", "weight");
    let (head, _) = ask(&router, post(&weight, r#"{"weight":5}"#)).await;
    assert_eq!(
        (head.status(), balance.status().endpoints[1].weight),
        (StatusCode::NO_CONTENT, 5)
    );
    for (body, path) in [
        ("{}", &weight),
        (r#"{"weight":-1}"#, &weight),
        (r#"{"weight":1000001}"#, &weight),
    ] {
        let (head, _) = ask(&router, post(path, body)).await;
        assert_eq!(head.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    for path in ["/endpoints/other/a/drain", "/endpoints/api/unknown/drain"] {
        assert_eq!(
            ask(&router, post(path, "")).await.0.status(),
            StatusCode::NOT_FOUND
        );
    }
    let wrong = Request::builder().method(Method::GET).uri(drain);
    let wrong = wrong.body(AxumBody::empty()).unwrap();
    assert_eq!(
        ask(&router, wrong).await.0.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}

/// What a browser is allowed is only what is in the page itself.
#[tokio::test]
async fn the_page_has_a_policy_of_its_own_each_time() {
    static OK: AtomicU16 = AtomicU16::new(200);
    let router = status_router(&three("api", &OK));
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let (head, page) = ask(&router, get("/")).await;
        let policy = head.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
        let nonce = policy
            .split("script-src 'nonce-")
            .nth(1)
            .unwrap()
            .split('\'')
            .next()
            .unwrap();
        assert!(!page.contains("NONCE"));
        assert_eq!(
            page.matches("<script").count(),
            page.matches(&format!("<script nonce=\"{nonce}\"")).count()
        );
        assert_eq!(
            page.matches("<style").count(),
            page.matches(&format!("<style nonce=\"{nonce}\"")).count()
        );
        nonces.push(nonce.to_owned());
    }
    assert_ne!(nonces[0], nonces[1]);
}

/// The connections of an endpoint at a URL are counted, and those of a service are not known.
#[tokio::test]
async fn connections_are_counted() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(|| async { "hello" });
    let server = tokio::spawn(axum::serve(listener, app).into_future());
    let balance = LoadBalance::new([url]).unwrap();
    assert_eq!(balance.status().endpoints[0].pool.unwrap().open, 0);
    for _ in 0..3 {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = balance.clone().oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    let pool = balance.status().endpoints[0].pool.unwrap();
    assert_eq!(
        (pool.open, pool.idle, pool.opened, pool.reused),
        (1, 1, 1, 2)
    );
    server.abort();
    static OK: AtomicU16 = AtomicU16::new(200);
    assert!(three("api", &OK).status().endpoints[0].pool.is_none());
}

/// Whether a discovery works is part of the status: when it last reported, and why it failed.
#[tokio::test(start_paused = true)]
async fn a_discovery_is_part_of_the_status() {
    let (feed, changes) = mpsc::unbounded_channel::<Result<Change<u32, _>, &'static str>>();
    let changes = UnboundedReceiverStream::new(changes);
    let balance = LoadBalance::from_discover(changes).unwrap();
    let discovery = || balance.status().discovery.unwrap();
    let silent = discovery();
    assert!(silent.last_success.is_none() && silent.last_error.is_none());

    let endpoint = || EndpointSpec::new("a", Router::new());
    feed.send(Ok(Change::Insert(1, endpoint()))).unwrap();
    until(|| discovery().last_success.is_some()).await;

    for failures in 1..=2 {
        feed.send(Err("the registry is down")).unwrap();
        until(|| discovery().failures_in_a_row == failures).await;
    }
    let error = discovery().last_error.unwrap();
    assert_eq!(
        (error.error, &*error.message),
        ("discovery", "the registry is down")
    );

    feed.send(Ok(Change::Insert(1, endpoint()))).unwrap();
    until(|| discovery().failures_in_a_row == 0).await;
    assert!(
        discovery().last_error.is_some(),
        "what happened is still told"
    );
    assert!(three("fixed", &FIRST).status().discovery.is_none());
}

/// Waits until `condition` holds, which a task brings about in time.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        advance(Duration::from_millis(100)).await;
    }
    panic!("it never came to be");
}
