//! Endpoints, the queue, discovery and connections.

use std::time::Duration;

use axum_upstream::{
    ForwardProxy, LoadBalance, ReverseProxy, discover::Change, endpoint::BoxService,
    policy::RoundRobin, proxy::TargetPolicy, retry::Retry, upstream::Client,
};
use futures_util::poll;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::{sync::mpsc, time::advance};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::ServiceExt;

use crate::{
    scrape::Metrics,
    services::{Status, answering, eventually, request, send, server},
};

pub async fn ejected_and_admitted(metrics: &Metrics) {
    tokio::time::pause();
    let status = Status::new(503);
    let backends = LoadBalance::builder()
        .name("ejection")
        .policy(RoundRobin)
        .retry(Retry::never())
        .endpoints([
            answering("sick", &status),
            answering("well", &Status::new(200)),
        ])
        .unwrap();
    let proxy = ReverseProxy::new(backends.clone());
    let labels = |endpoint| [("cluster", "ejection"), ("endpoint", endpoint)];
    let available = |endpoint| metrics.sum("axum_upstream_endpoint_available", &labels(endpoint));
    send(&proxy, request("GET", "/")).await;
    assert_eq!((available("sick"), available("well")), (1.0, 1.0));
    for _ in 0..12 {
        send(&proxy, request("GET", "/")).await;
    }
    assert_eq!((available("sick"), available("well")), (0.0, 1.0));
    let ejections = [&labels("sick")[..], &[("cause", "failing")]].concat();
    let ejections = metrics.sum("axum_upstream_ejections_total", &ejections);
    assert_eq!(ejections, 1.0);

    status.set(200);
    // The back-off, and the time for which a probe waits for a request that could be sent again.
    advance(Duration::from_secs(3)).await;
    for _ in 0..3 {
        assert_eq!(send(&proxy, request("GET", "/")).await, StatusCode::OK);
    }
    assert_eq!(available("sick"), 1.0);
    let admissions = metrics.sum("axum_upstream_admissions_total", &labels("sick"));
    assert_eq!(admissions, 1.0);

    let _draining = backends.handle().remove("well");
    assert_eq!(available("well"), 0.0);
    tokio::time::resume();
}

pub async fn queued(metrics: &Metrics) {
    tokio::time::pause();
    let backends = LoadBalance::builder()
        .name("queue")
        .max_in_flight(1)
        .queue(1, Duration::from_secs(1))
        .endpoints([answering("one", &Status::new(200))]);
    let proxy = ReverseProxy::new(backends.unwrap());
    let length = || metrics.sum("axum_upstream_queue_length", &[("cluster", "queue")]);
    let rejections = |cause| {
        let labels = [("cluster", "queue"), ("cause", cause)];
        metrics.sum("axum_upstream_queue_rejections_total", &labels)
    };
    let mut first = Box::pin(send(&proxy, request("GET", "/hang")));
    assert!(poll!(&mut first).is_pending());
    let mut second = Box::pin(send(&proxy, request("GET", "/")));
    assert!(poll!(&mut second).is_pending());
    assert_eq!(length(), 1.0);

    let third = send(&proxy, request("GET", "/")).await;
    assert_eq!(third, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((rejections("full"), length()), (1.0, 1.0));

    assert_eq!(second.await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((rejections("deadline"), length()), (1.0, 0.0));
    let overloaded = [("cluster", "none"), ("outcome", "overloaded")];
    let overloaded = metrics.sum("axum_upstream_requests_total", &overloaded);
    assert_eq!(overloaded, 2.0);
    tokio::time::resume();
}

pub async fn discovered(metrics: &Metrics) {
    let (changes, stream) = mpsc::unbounded_channel();
    let backends: LoadBalance<BoxService> = LoadBalance::builder()
        .name("discovery")
        .discover(UnboundedReceiverStream::new(stream))
        .unwrap();
    let cluster = [("cluster", "discovery")];
    let last = || {
        metrics.sum(
            "axum_upstream_discovery_last_success_timestamp_seconds",
            &cluster,
        )
    };
    let failures = || metrics.sum("axum_upstream_discovery_failures_total", &cluster);
    changes.send(Err("unreachable")).unwrap();
    eventually(|| failures() == 1.0).await;
    assert_eq!(last(), 0.0);

    tokio::time::pause();
    let endpoint = answering("a", &Status::new(200));
    changes.send(Ok(Change::Insert(0, endpoint))).unwrap();
    // The stream is polled again a second after an error.
    advance(Duration::from_secs(2)).await;
    eventually(|| last() > 1e9).await;
    tokio::time::resume();
    drop(backends);
}

pub async fn connected(metrics: &Metrics) {
    let (url, server) = server().await;
    let proxy = ReverseProxy::to(&url).unwrap();
    for _ in 0..3 {
        assert_eq!(send(&proxy, request("GET", "/")).await, StatusCode::OK);
    }
    let endpoint = ("endpoint", url.as_str());
    let connections = |what| {
        let name = format!("axum_upstream_connections_{what}");
        metrics.sum(&name, &[endpoint])
    };
    assert_eq!(
        [
            "opened_total",
            "reused_total",
            "open",
            "idle",
            "closed_total"
        ]
        .map(connections),
        [1.0, 2.0, 1.0, 1.0, 0.0]
    );
    // A client that no balancer counts counts by itself.
    let labels = [
        ("cluster", "none"),
        endpoint,
        ("method", "GET"),
        ("status", "2xx"),
        ("outcome", "success"),
    ];
    assert_eq!(metrics.sum("axum_upstream_attempts_total", &labels), 3.0);
    let received = metrics.sum("axum_upstream_received_bytes_total", &[endpoint]);
    assert_eq!(received, 15.0);

    drop(server);
    eventually(|| connections("closed_total") == 1.0).await;
    let by_endpoint = [endpoint, ("cause", "endpoint")];
    let closed = metrics.sum("axum_upstream_connections_closed_total", &by_endpoint);
    assert_eq!(closed, 1.0);
    assert_eq!(["open", "idle"].map(connections), [0.0, 0.0]);
}

/// Each for the cause that closes it.
pub async fn closed(metrics: &Metrics) {
    let causes = |endpoint: &str| {
        let samples = metrics.scrape().into_iter().filter(|sample| {
            sample.metric == "axum_upstream_connections_closed_total"
                && sample.labels.get("endpoint") == Some(endpoint)
        });
        let causes = samples.map(|sample| sample.labels["cause"].clone());
        causes.collect::<Vec<_>>()
    };
    let get = || request("GET", "/");

    let (url, _server) = server().await;
    let none_idle = Client::builder().pool_max_idle(0).build(&url).unwrap();
    send(&ReverseProxy::new(none_idle), get()).await;
    assert_eq!(causes(&url), ["surplus"]);

    let (url, _server) = server().await;
    let idle = Client::builder().pool_idle_timeout(Duration::from_secs(5));
    let proxy = ReverseProxy::new(idle.build(&url).unwrap());
    send(&proxy, get()).await;
    tokio::time::pause();
    advance(Duration::from_secs(6)).await;
    eventually(|| causes(&url) == ["idle_timeout"]).await;
    tokio::time::resume();

    let (url, _server) = server().await;
    let short = Client::builder().max_lifetime(Duration::from_secs(5));
    let proxy = ReverseProxy::new(short.build(&url).unwrap());
    send(&proxy, get()).await;
    tokio::time::pause();
    advance(Duration::from_secs(6)).await;
    eventually(|| causes(&url) == ["max_lifetime"]).await;
    tokio::time::resume();

    let (url, _server) = server().await;
    let proxy = ReverseProxy::to(&url).unwrap();
    // Without its body, the exchange is given up.
    drop(proxy.forward(get()).await);
    assert_eq!(causes(&url), ["exchange"]);
    let labels = [("endpoint", url.as_str()), ("outcome", "client_gone")];
    assert_eq!(metrics.sum("axum_upstream_attempts_total", &labels), 1.0);
}

/// Clients name the targets, and must not be able to create a series with each name.
pub async fn targets_of_a_forward_proxy(metrics: &Metrics) {
    let policy = TargetPolicy::new()
        .allow_networks(["127.0.0.1"])
        .unwrap()
        .http_ports([1..=u16::MAX]);
    let proxy = ForwardProxy::new(policy);
    let (first, second) = (server().await, server().await);
    for (url, _) in [&first, &second] {
        let response = proxy.clone().oneshot(request("GET", url)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.unwrap();
    }
    let labels = [("endpoint", "forward-proxy")];
    let opened = metrics.sum("axum_upstream_connections_opened_total", &labels);
    assert_eq!(opened, 2.0);
    let text = metrics.text();
    for (url, _) in [first, second] {
        assert!(!text.contains(url.trim_start_matches("http://")), "{text}");
    }
}

as_tests!(closed ejected_and_admitted queued discovered connected targets_of_a_forward_proxy);
