//! Exchanges and their attempts.

use std::time::Duration;

use axum_upstream::{
    Body, LoadBalance, ReverseProxy,
    policy::RoundRobin,
    retry::{Hedge, Retry, RetryBudget},
};
use futures_util::poll;
use http::{Request, StatusCode};
use tower::timeout::Timeout;

use crate::{
    scrape::Metrics,
    services::{Status, answering, hanging, request, send},
};

/// What clients have seen is what was counted, attempt by attempt.
pub async fn retried_and_cancelled(metrics: &Metrics) {
    tokio::time::pause();
    let cluster = ("cluster", "totals");
    let backends = LoadBalance::builder()
        .name("totals")
        .policy(RoundRobin)
        .endpoints([
            answering("good", &Status::new(200)),
            answering("bad", &Status::new(503)),
        ]);
    let proxy = ReverseProxy::new(backends.unwrap());
    for _ in 0..30 {
        assert_eq!(send(&proxy, request("GET", "/")).await, StatusCode::OK);
    }
    // By now the bad one is ejected.
    for _ in 0..4 {
        let (parts, _) = request("POST", "/").into_parts();
        let post = Request::from_parts(parts, Body::from("0123456789"));
        assert_eq!(send(&proxy, post).await, StatusCode::OK);
    }
    for _ in 0..3 {
        let mut left = Box::pin(send(&proxy, request("GET", "/hang")));
        assert!(poll!(&mut left).is_pending());
        let in_flight = metrics.sum("axum_upstream_requests_in_flight", &[]);
        let attempts = metrics.sum("axum_upstream_attempts_in_flight", &[cluster]);
        assert_eq!((in_flight, attempts), (1.0, 1.0));
    }
    tokio::time::resume();

    let requests = |labels: &[(&str, &str)]| {
        metrics.sum(
            "axum_upstream_requests_total",
            &[&[cluster], labels].concat(),
        )
    };
    let attempts = |labels: &[(&str, &str)]| {
        metrics.sum(
            "axum_upstream_attempts_total",
            &[&[cluster], labels].concat(),
        )
    };
    assert_eq!(requests(&[]), 37.0);
    let success = [("status", "2xx"), ("outcome", "success")];
    assert_eq!(requests(&success), 34.0);
    assert_eq!(requests(&[("method", "POST")]), 4.0);
    let gone = [("status", "none"), ("outcome", "client_gone")];
    assert_eq!(requests(&gone), 3.0);

    assert_eq!(attempts(&success), 34.0);
    assert_eq!(attempts(&gone), 3.0);
    let retries = metrics.sum("axum_upstream_retries_total", &[cluster]);
    assert_eq!(
        retries, 5.0,
        "so many failures in a row eject the endpoint, and none came back to a client"
    );
    let failure = [
        ("endpoint", "bad"),
        ("status", "5xx"),
        ("outcome", "failure"),
    ];
    assert_eq!(attempts(&failure), retries);
    assert_eq!(attempts(&[]), requests(&[]) + retries);

    let endpoint = |name, endpoint| metrics.sum(name, &[cluster, ("endpoint", endpoint)]);
    assert_eq!(endpoint("axum_upstream_sent_bytes_total", "good"), 40.0);
    assert_eq!(
        endpoint("axum_upstream_received_bytes_total", "good"),
        34.0 * 5.0
    );
    assert_eq!(endpoint("axum_upstream_attempts_in_flight", "good"), 0.0);
    assert_eq!(metrics.sum("axum_upstream_requests_in_flight", &[]), 0.0);
    for (histogram, counter) in [
        (
            "http_server_request_duration_seconds_count",
            "axum_upstream_requests_total",
        ),
        (
            "http_client_request_duration_seconds_count",
            "axum_upstream_attempts_total",
        ),
    ] {
        assert_eq!(metrics.sum(histogram, &[]), metrics.sum(counter, &[]));
    }
}

/// What goes no further than the proxy is counted, too, and a client cannot make up values of labels.
pub async fn refused(metrics: &Metrics) {
    let proxy = ReverseProxy::to("http://127.0.0.1:1").unwrap();
    let mut without_host = request("BREW", "/");
    without_host.headers_mut().remove("host");
    assert_eq!(send(&proxy, without_host).await, StatusCode::BAD_REQUEST);
    let labels = [
        ("cluster", "none"),
        ("method", "_OTHER"),
        ("status", "4xx"),
        ("outcome", "bad_request"),
    ];
    assert_eq!(metrics.sum("axum_upstream_requests_total", &labels), 1.0);

    // RFC 9110 7.6.2: the proxy answers this one itself.
    let mut options = request("OPTIONS", "/");
    let none_left = "0".parse().unwrap();
    options.headers_mut().insert("max-forwards", none_left);
    assert_eq!(send(&proxy, options).await, StatusCode::OK);
    let labels = [("method", "OPTIONS"), ("outcome", "success")];
    assert_eq!(metrics.sum("axum_upstream_requests_total", &labels), 1.0);
}

/// The attempt that was answered decides, and the other one is told apart.
pub async fn hedged(metrics: &Metrics) {
    tokio::time::pause();
    let backends = LoadBalance::builder()
        .name("hedged")
        .policy(RoundRobin)
        .hedge(Hedge::after(Duration::from_millis(10)).unwrap())
        .endpoints([hanging("slow"), answering("quick", &Status::new(200))]);
    let proxy = ReverseProxy::new(backends.unwrap());
    for _ in 0..2 {
        assert_eq!(send(&proxy, request("GET", "/")).await, StatusCode::OK);
    }
    tokio::time::resume();
    let cluster = ("cluster", "hedged");
    assert_eq!(metrics.sum("axum_upstream_hedges_total", &[cluster]), 1.0);
    assert_eq!(metrics.sum("axum_upstream_retries_total", &[cluster]), 0.0);
    let success = ("outcome", "success");
    let requests = metrics.sum("axum_upstream_requests_total", &[cluster, success]);
    assert_eq!(requests, 2.0);
    let superseded = [
        cluster,
        ("endpoint", "slow"),
        ("status", "none"),
        ("outcome", "superseded"),
    ];
    let attempts = metrics.sum("axum_upstream_attempts_total", &superseded);
    assert_eq!(attempts, 1.0);
    let lasted = metrics.sum("http_client_request_duration_seconds_sum", &superseded);
    assert!((0.010..0.013).contains(&lasted), "{lasted}");
}

/// A layer in between that gives up is an error of the exchange, and no failure of the endpoint.
pub async fn given_up(metrics: &Metrics) {
    tokio::time::pause();
    let backends = LoadBalance::builder()
        .name("impatient")
        .endpoints([hanging("slow")])
        .unwrap();
    let proxy = ReverseProxy::new(Timeout::new(backends, Duration::from_millis(10)));
    let status = send(&proxy, request("GET", "/")).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    tokio::time::resume();
    let counted = |name, outcome| {
        let labels = [("cluster", "impatient"), ("outcome", outcome)];
        metrics.sum(name, &labels)
    };
    assert_eq!(counted("axum_upstream_requests_total", "service"), 1.0);
    assert_eq!(counted("axum_upstream_attempts_total", "client_gone"), 1.0);
}

pub async fn out_of_budget(metrics: &Metrics) {
    tokio::time::pause();
    let budget = RetryBudget::new().ratio(0.0).unwrap().per_second(1);
    let bad = Status::new(503);
    let backends = LoadBalance::builder()
        .name("budget")
        .retry(Retry::default().budget(budget))
        .endpoints([answering("a", &bad), answering("b", &bad)]);
    let proxy = ReverseProxy::new(backends.unwrap());
    let cluster = [("cluster", "budget")];
    let left = || metrics.sum("axum_upstream_retry_budget", &cluster);
    for budget in [1.0, 0.0, 0.0] {
        let status = send(&proxy, request("GET", "/")).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(left(), budget, "when the request came");
    }
    tokio::time::resume();
    assert_eq!(metrics.sum("axum_upstream_retries_total", &cluster), 1.0);
    let denied = metrics.sum("axum_upstream_retries_denied_total", &cluster);
    assert_eq!(denied, 2.0);
    let failures = [("cluster", "budget"), ("outcome", "failure")];
    let failed = metrics.sum("axum_upstream_requests_total", &failures);
    assert_eq!(failed, 3.0);
}

as_tests!(retried_and_cancelled refused hedged given_up out_of_budget);
