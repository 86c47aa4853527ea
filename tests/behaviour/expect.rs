//! `Expect: 100-continue`: the endpoint decides whether a body is sent, as far as HTTP libraries let it.
//!
//! RFC 9110 10.1.1: a proxy that receives the expectation and has no final response of its own forwards the request
//! with it, and the client gets the 100, or the final response, that the endpoint sends.

use std::sync::Arc;

use axum_upstream::Body;
use http::Request;
use tokio::sync::Notify;

use crate::support::{
    Client, Conn, Http, client, proxy,
    proxy::{OK, exchange},
    server, within,
};

const HEAD: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
const CHUNKED: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// Check 26: the client's 100 comes when the endpoint has sent its own, and not before.
#[tokio::test]
async fn a_client_gets_the_endpoints_100() {
    for (head, body) in [(HEAD, "abc"), (CHUNKED, "3\r\nabc\r\n0\r\n\r\n")] {
        within(async {
            let go = Arc::new(Notify::new());
            let asked = go.clone();
            let server = server::raw(move |mut conn| {
                let asked = asked.clone();
                async move {
                    let head = conn.head().await.unwrap();
                    assert!(head.to_lowercase().contains("expect: 100-continue"));
                    asked.notified().await;
                    conn.send(CONTINUE).await;
                    let sent = conn.until("abc").await.unwrap();
                    conn.send(OK).await;
                    assert!(sent.ends_with("abc"));
                    conn.closed().await;
                }
            })
            .await;
            let proxy = proxy::to(&server.url()).await;
            let mut client = Conn::connect(proxy.address).await;
            client.send(head).await;
            {
                let mut early = std::pin::pin!(client.head());
                for _ in 0..100 {
                    assert!(futures_util::poll!(early.as_mut()).is_pending());
                    tokio::task::yield_now().await;
                }
                go.notify_one();
                assert!(early.await.unwrap().starts_with("HTTP/1.1 100"));
            }
            client.send(body).await;
            assert_eq!(client.response().await.unwrap().status(), 200);
        })
        .await;
    }
}

/// Check 26: a final response comes instead of a 100, and the body stays with the client.
#[tokio::test]
async fn a_refused_body_is_not_asked_for() {
    for head in [HEAD, CHUNKED] {
        for early in ["", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
            within(async {
                let (reached, ended) = tokio::sync::oneshot::channel();
                let reached = Arc::new(std::sync::Mutex::new(Some(reached)));
                let server = server::raw(move |mut conn| {
                    let reached = reached.clone();
                    async move {
                        conn.head().await;
                        conn.send(early).await;
                        conn.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
                            .await;
                        let rest = conn.rest().await;
                        if let Some(reached) = reached.lock().unwrap().take() {
                            reached.send(rest).unwrap();
                        }
                    }
                })
                .await;
                let proxy = proxy::to(&server.url()).await;
                let mut client = Conn::connect(proxy.address).await;
                client.send(head).await;
                let first = client.head().await.unwrap();
                assert!(first.starts_with("HTTP/1.1 401"), "{first}");
                assert_eq!(client.take(2).await, b"no");
                let rest = ended.await.unwrap();
                assert!(rest.is_empty(), "{rest:?} reached the endpoint");
            })
            .await;
        }
    }
}

/// A server of old does not know of the expectation, and waits for the body.
#[tokio::test]
async fn a_silent_endpoint_gets_the_body() {
    for request in [
        format!("{HEAD}abc"),
        format!("{CHUNKED}3\r\nabc\r\n0\r\n\r\n"),
    ] {
        let proxy = exchange(request, OK).await;
        assert_eq!(proxy.up().text(), "abc");
        assert_eq!(proxy.down.status(), 200);
    }
}

/// Nobody tells an HTTP/2 client to go on: it sends when it has waited for long enough, and the body arrives.
#[tokio::test]
async fn over_http2_the_body_arrives_all_the_same() {
    for (down, up) in [
        (Http::One, Http::Two),
        (Http::Two, Http::One),
        (Http::Two, Http::Two),
    ] {
        within(async {
            let echo = |body: axum::body::Bytes| async move { body };
            let server = server::app(axum::Router::new().fallback(echo)).await;
            let proxy = proxy::to(&server.url_for(up)).await;
            let mut client = Client::connect(down, proxy.address).await;
            let request = Request::post("/").header("expect", "100-continue");
            let request = request.body(Body::from("abc")).unwrap();
            let response = client.send(request).await;
            assert_eq!(response.status(), 200, "{down:?} {up:?}");
            assert_eq!(client::text(response).await, "abc", "{down:?} {up:?}");
        })
        .await;
    }
}

/// With HTTP/2 at the endpoint, hyper's server sends the client its 100, as soon as the body is wanted.
#[tokio::test]
async fn in_front_of_http2_the_proxy_sends_the_100() {
    within(async {
        let echo = |body: axum::body::Bytes| async move { body };
        let server = server::app(axum::Router::new().fallback(echo)).await;
        let proxy = proxy::to(&server.url_for(Http::Two)).await;
        let mut client = Conn::connect(proxy.address).await;
        client.send(HEAD).await;
        assert!(client.head().await.unwrap().starts_with("HTTP/1.1 100"));
        client.send("abc").await;
        assert_eq!(client.response().await.unwrap().text(), "abc");
    })
    .await;
}
