//! Checks by HTTP, over real connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, response::Redirect, routing::get};
use axum_upstream::{Body, HealthCheck, LoadBalance, policy::RoundRobin};
use http::Request;
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::{checked, often, opened, shut};
use crate::support::{
    Http, proxy,
    server::{self, Server},
    versions, within,
};

fn healthz() -> HealthCheck {
    often(HealthCheck::http("/healthz").unwrap())
}

/// A check that nothing but its first result tells of.
fn required() -> HealthCheck {
    healthz().required_before_use()
}

/// An application whose health is set by the test, and the number of its requests that are no checks.
struct App {
    server: Server,
    health: Arc<AtomicU16>,
    requests: Arc<AtomicUsize>,
}

impl App {
    async fn new() -> Self {
        let (health, requests) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
        let (status, count) = (health.clone(), requests.clone());
        let app = Router::new()
            .route(
                "/healthz",
                get(move || async move { StatusCode::from_u16(status.load(SeqCst)).unwrap() }),
            )
            .fallback(move || async move {
                count.fetch_add(1, SeqCst);
            });
        Self {
            server: server::app(app).await,
            health,
            requests,
        }
    }
}

async fn send(balance: &LoadBalance, requests: usize) {
    for _ in 0..requests {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = balance.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

versions! {
    /// Check 74: an endpoint that says it is not well gets no requests, and gets them again as soon as it is.
    async fn a_status_shuts_an_endpoint_and_opens_it(_down, up) {
        let (one, two) = (App::new().await, App::new().await);
        let builder = LoadBalance::builder().policy(RoundRobin).health_check(healthz());
        let urls = [&one, &two].map(|app| app.server.url_for(up));
        let balance = builder.urls(urls).unwrap();
        send(&balance, 10).await;
        assert_eq!(one.requests.load(SeqCst), 5);

        one.health.store(503, SeqCst);
        shut(&balance).await;
        send(&balance, 10).await;
        assert_eq!(one.requests.load(SeqCst), 5, "none while it is shut");

        one.health.store(204, SeqCst);
        opened(&balance).await;
        send(&balance, 10).await;
        assert_eq!(one.requests.load(SeqCst), 10);
    }
}

/// A check that is wrong does not take the site down.
#[tokio::test]
async fn if_all_fail_requests_are_sent_all_the_same() {
    within(async {
        let app = App::new().await;
        app.health.store(500, SeqCst);
        let balance = checked(healthz(), [app.server.url()]);
        shut(&balance).await;
        send(&balance, 3).await;
        assert_eq!(app.requests.load(SeqCst), 3);
    })
    .await;
}

/// Check 74.
#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    within(async {
        let followed = Arc::new(AtomicUsize::new(0));
        let count = followed.clone();
        let app = Router::new()
            .route("/healthz", get(|| async { Redirect::temporary("/well") }))
            .route(
                "/well",
                get(move || async move {
                    count.fetch_add(1, SeqCst);
                }),
            );
        let server = server::app(app).await;
        let balance = checked(healthz(), [server.url()]);
        shut(&balance).await;
        assert_eq!(followed.load(SeqCst), 0);

        let expecting = required().expect_status(300..=399).unwrap();
        opened(&checked(expecting, [server.url()])).await;
        assert_eq!(followed.load(SeqCst), 0);
    })
    .await;
}

#[tokio::test]
async fn a_closure_judges_the_head() {
    within(async {
        let app = Router::new().fallback(|| async { ([("x-role", "replica")], "") });
        let server = server::app(app).await;
        let role = |role: &'static str| {
            let is = move |head: &http::response::Parts| head.headers["x-role"] == role;
            required().accept(is).unwrap()
        };
        opened(&checked(role("replica"), [server.url()])).await;
        let balance = checked(often(role("primary")), [server.url()]);
        shut(&balance).await;
    })
    .await;
}

/// What is sent: under the base path, with the host and the method that were set, and a name of its own.
#[tokio::test]
async fn the_request_is_the_one_that_was_described() {
    within(async {
        let (server, mut requests) = server::canned(proxy::OK).await;
        let check = HealthCheck::http("/healthz?deep=1").unwrap();
        let check = check.host("internal.example.com:81").unwrap();
        let base = format!("{}/base", server.url());
        let _balance = checked(check.clone(), [&base]);
        let request = requests.recv().await.unwrap();
        assert_eq!(request.start_line(), "GET /base/healthz?deep=1 HTTP/1.1");
        assert_eq!(request.field("host"), Some("internal.example.com:81"));
        let agent = request.field("user-agent").unwrap();
        assert!(agent.ends_with(" (health check)"), "{agent}");
        assert!(request.body.is_empty() && !request.has("x-forwarded-for"));

        let options = check.method(http::Method::OPTIONS).unwrap();
        let _balance = checked(options, [server.url()]);
        let request = requests.recv().await.unwrap();
        assert_eq!(request.start_line(), "OPTIONS /healthz?deep=1 HTTP/1.1");
    })
    .await;
}

/// Without a host of its own, a check is for the endpoint's.
#[tokio::test]
async fn the_host_is_the_endpoints() {
    within(async {
        let (server, mut requests) = server::canned(proxy::OK).await;
        let _balance = checked(healthz(), [server.url()]);
        let request = requests.recv().await.unwrap();
        assert_eq!(request.field("host"), Some(&*server.address.to_string()));
    })
    .await;
}

/// The connection is used again, so checks cost a server little.
#[tokio::test]
async fn checks_share_a_connection() {
    within(async {
        let (accepted, mut connections) = mpsc::unbounded_channel();
        let (seen, mut requests) = mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let seen = seen.clone();
            accepted.send(()).unwrap();
            async move {
                while conn.request().await.is_some() {
                    let _ = seen.send(());
                    conn.send(proxy::OK).await;
                }
            }
        })
        .await;
        let _balance = checked(healthz(), [server.url()]);
        for _ in 0..5 {
            requests.recv().await.unwrap();
        }
        connections.recv().await.unwrap();
        assert!(connections.try_recv().is_err());
    })
    .await;
}

/// Check 74: a check has a deadline of its own, from the connecting to the last byte.
#[tokio::test]
async fn silence_and_stalls_are_failures() {
    within(async {
        for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"] {
            let server = server::raw(move |mut conn| async move {
                conn.request().await;
                conn.send(answer).await;
                assert!(conn.closed().await);
            })
            .await;
            let brief = healthz().timeout(Duration::from_millis(20)).unwrap();
            shut(&checked(brief, [server.url()])).await;
        }
    })
    .await;
}

/// A health page without an end costs no more than a little of it, and its connection.
#[tokio::test]
async fn a_body_that_never_ends_is_cut_short() {
    within(async {
        let (ended, mut endings) = mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let ended = ended.clone();
            async move {
                conn.request().await;
                conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await;
                while conn.try_send("5\r\nhello\r\n").await {}
                let _ = ended.send(());
            }
        })
        .await;
        let balance = checked(required(), [server.url()]);
        opened(&balance).await;
        endings.recv().await.unwrap();
    })
    .await;
}

/// A server that cannot be connected to, breaks off, or speaks another protocol fails its check.
#[tokio::test]
async fn what_is_not_an_answer_is_a_failure() {
    within(async {
        let refusing = server::refusing();
        shut(&checked(healthz(), [refusing.url()])).await;
        for bytes in ["", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\nContent-Le"] {
            let server = server::raw(move |mut conn| async move {
                conn.request().await;
                conn.send(bytes).await;
            })
            .await;
            shut(&checked(healthz(), [server.url()])).await;
        }
    })
    .await;
}

/// The clients of a cluster with HTTP/2 are checked over it.
#[tokio::test]
async fn over_http2_the_authority_is_the_host() {
    within(async {
        let app = Router::new().fallback(|request: axum::extract::Request| async move {
            let authority = request.uri().authority().map(ToString::to_string);
            match authority.as_deref() {
                Some("internal.example.com") => StatusCode::OK,
                _ => StatusCode::NOT_FOUND,
            }
        });
        let server = server::app(app).await;
        let check = required().host("internal.example.com").unwrap();
        opened(&checked(check, [server.url_for(Http::Two)])).await;
        shut(&checked(healthz(), [server.url_for(Http::Two)])).await;
    })
    .await;
}
