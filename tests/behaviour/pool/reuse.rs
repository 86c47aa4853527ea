//! What is sent over a connection that has been used before.

use std::convert::Infallible;

use axum_upstream::{Body, upstream::Client};
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::support::{
    counted::{self, Count},
    direct::{get, post, send},
    eventually,
    proxy::OK,
    server, within,
};

#[tokio::test]
async fn a_connection_is_used_again() {
    within(async {
        let (server, count) = counted::http1(usize::MAX).await;
        let client = Client::new(&server.url()).unwrap();
        for _ in 0..20 {
            assert_eq!(send(&client, get()).await, 200);
            assert_eq!(send(&client, post("abc")).await, 200);
        }
        assert_eq!(count.made(), 1);
        drop(client);
        eventually(|| count.open() == 0).await;
    })
    .await;
}

/// A body that is not read to its end makes its connection useless, and closes it.
#[tokio::test]
async fn a_body_dropped_early_closes_its_connection() {
    within(async {
        let (closed, mut closes) = tokio::sync::mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let closed = closed.clone();
            async move {
                conn.head().await;
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                    .await;
                conn.rest().await;
                let _ = closed.send(());
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        drop(client.clone().oneshot(get()).await.unwrap());
        closes.recv().await.unwrap();
    })
    .await;
}

/// Trailers end a message, and its connection is free again.
#[tokio::test]
async fn a_response_with_trailers_gives_its_connection_back() {
    within(async {
        let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                        1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n";
        let count = Count::default();
        let entered = count.clone();
        let server = server::raw(move |mut conn| {
            let counted = entered.enter();
            async move {
                let _counted = counted;
                while conn.request().await.is_some() {
                    conn.send(response).await;
                }
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        for _ in 0..5 {
            let mut body = client.clone().oneshot(get()).await.unwrap().into_body();
            // As hyper's server does: no poll after the trailers.
            while !body.frame().await.unwrap().unwrap().is_trailers() {}
        }
        assert_eq!(count.made(), 1);
    })
    .await;
}

/// hyper answers in kind to a server of HTTP/1.0, which cannot be told that a body is chunked.
#[tokio::test]
async fn connections_of_http_1_0_are_not_used_again() {
    within(async {
        let response = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok";
        let (server, mut requests) = server::canned(response).await;
        let client = Client::new(&server.url()).unwrap();
        for _ in 0..3 {
            assert_eq!(send(&client, get()).await, 200);
            let frames = tokio_stream::iter([Ok::<_, Infallible>(http_body::Frame::data(
                Bytes::from("hello"),
            ))]);
            let body = Body::new(http_body_util::StreamBody::new(frames));
            assert_eq!(
                send(&client, Request::post("/").body(body).unwrap()).await,
                200
            );
            requests.recv().await.unwrap();
            assert_eq!(requests.recv().await.unwrap().text(), "hello");
        }
    })
    .await;
}

/// Bytes that nobody asked for make an idle connection useless: they must not become the next response.
#[tokio::test]
async fn unasked_bytes_are_no_response() {
    within(async {
        let (go, went) = watch::channel(());
        let server = server::raw(move |mut conn| {
            let mut went = went.clone();
            async move {
                conn.request().await;
                conn.send(OK).await;
                went.changed().await.unwrap();
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
                    .await;
                conn.rest().await;
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        send(&client, get()).await;
        go.send(()).unwrap();
        tokio::task::yield_now().await;
        if let Ok(response) = client.clone().oneshot(post("x")).await {
            assert_ne!(
                response.into_body().collect().await.unwrap().to_bytes(),
                "evil"
            );
        }
    })
    .await;
}

/// Check 62: a length that is not the body's would swallow the next request.
#[tokio::test]
async fn the_length_is_the_bodys() {
    within(async {
        let (server, mut requests) = server::canned(OK).await;
        let client = Client::new(&server.url()).unwrap();
        for (said, body) in [("50", ""), ("2", "hello"), ("9", "hello")] {
            let request = Request::post("/")
                .header("content-length", said)
                .body(Body::from(body))
                .unwrap();
            assert_eq!(send(&client, request).await, 200);
            let seen = requests.recv().await.unwrap();
            assert_eq!(
                (seen.field("content-length"), seen.text().as_str()),
                (Some(body.len().to_string().as_str()), body)
            );
        }
    })
    .await;
}
