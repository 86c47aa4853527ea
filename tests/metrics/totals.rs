//! What clients have counted, the metrics, the status and the access log give one number.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex},
};

use axum_upstream::{
    LoadBalance, ReverseProxy,
    access_log::{AccessLogFormat, AccessLogLayer},
};
use futures_util::{future::join_all, poll};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};

use crate::{
    scrape::Metrics,
    services::{Status, answering, request},
};

/// Where a log is written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many exchanges ended with each status.
type Totals = BTreeMap<u16, f64>;

#[tokio::test]
async fn all_give_one_number() {
    let metrics = Metrics::new();
    let written = Written::default();
    let log = AccessLogLayer::builder(AccessLogFormat::Json)
        .writer(written.clone())
        .build()
        .unwrap();
    let (good, bad, worse) = (Status::new(200), Status::new(503), Status::new(500));
    let backends = LoadBalance::builder().name("all").endpoints([
        answering("good", &good),
        answering("bad", &bad),
        answering("worse", &worse),
    ]);
    let backends = backends.unwrap();
    let service = log.layer(ReverseProxy::new(backends.clone()));

    let mut seen = Totals::new();
    for round in 0..20 {
        // Those that work take turns, so that nothing stays ejected.
        if round % 5 == 4 {
            for (status, next) in [(&good, 503), (&bad, 500), (&worse, 200)] {
                status.set(if round % 10 == 4 { next } else { 200 });
            }
        }
        let sent = (0..20).map(|nth| {
            let method = if nth % 3 == 0 { "POST" } else { "GET" };
            let service = service.clone();
            async move {
                let response = service.oneshot(request(method, "/")).await.unwrap();
                let status = response.status().as_u16();
                response.into_body().collect().await.unwrap();
                status
            }
        });
        for status in join_all(sent).await {
            *seen.entry(status).or_default() += 1.0;
        }
        // A client that leaves before it has a response.
        let mut left = Box::pin(service.clone().oneshot(request("GET", "/hang")));
        assert!(poll!(&mut left).is_pending());
        *seen.entry(499).or_default() += 1.0;
    }
    let all: f64 = seen.values().sum();
    assert_eq!(all, 420.0);
    assert!(seen[&200] > 0.0 && seen[&500] > 0.0, "{seen:?}");

    log.flush().await;
    let lines = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let mut logged = Totals::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let status = line["status"].as_u64().unwrap();
        *logged.entry(status.try_into().unwrap()).or_default() += 1.0;
    }
    assert_eq!(logged, seen);

    let counted = |labels: &[(&str, &str)]| metrics.sum("axum_upstream_requests_total", labels);
    assert_eq!(counted(&[]), all);
    let class = |class: u16| -> f64 {
        let of_class = seen.iter().filter(|(status, _)| *status / 100 == class);
        of_class.map(|(_, count)| count).sum()
    };
    assert_eq!(counted(&[("status", "2xx")]), class(2));
    assert_eq!(counted(&[("status", "5xx")]), class(5));
    assert_eq!(counted(&[("outcome", "client_gone")]), seen[&499]);

    let report = backends.status();
    assert_eq!(report.requests as f64, all);
    let attempts: u64 = report
        .endpoints
        .iter()
        .map(|endpoint| endpoint.requests)
        .sum();
    assert_eq!(
        metrics.sum("axum_upstream_attempts_total", &[]),
        attempts as f64
    );
    assert_eq!(attempts, report.requests + report.retries);
    for endpoint in &report.endpoints {
        let failed = [("endpoint", &*endpoint.name), ("outcome", "failure")];
        let failed = metrics.sum("axum_upstream_attempts_total", &failed);
        assert_eq!(failed, endpoint.failures as f64, "{}", endpoint.name);
    }
}
