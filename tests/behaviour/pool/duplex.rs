//! Both bodies of one exchange at the same time.

use axum_upstream::{Body, upstream::Client};
use bytes::Bytes;
use http::Request;

use crate::support::{Conn, direct::send, proxy, server, within};

/// 64 MiB each way, the server reading and writing independently, the client reading only when it has sent all: what
/// the client does not read must not hold up what it sends.
#[tokio::test]
async fn an_unread_response_does_not_hold_up_the_upload() {
    const SIZE: usize = 64 << 20;
    within(async {
        let server = server::raw(|mut conn| async move {
            conn.head().await;
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"))
                .await;
            let (mut reads, mut writes) = conn.split();
            let chunk = vec![7; 1 << 16];
            let write = async {
                for _ in 0..SIZE / chunk.len() {
                    writes.send(&chunk).await;
                }
            };
            tokio::join!(write, async { assert_eq!(reads.count(SIZE).await, SIZE) });
        })
        .await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Conn::connect(proxy.address).await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"
            ))
            .await;
        let chunk = vec![7; 1 << 16];
        for _ in 0..SIZE / chunk.len() {
            client.send(&chunk).await;
        }
        assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
        let (mut reads, _writes) = client.split();
        assert_eq!(reads.count(SIZE).await, SIZE);
    })
    .await;
}

/// The other way round: a server that reads nothing until it has sent all.
#[tokio::test]
async fn an_unread_request_does_not_hold_up_the_response() {
    const SIZE: usize = 64 << 20;
    within(async {
        let server = server::raw(|mut conn| async move {
            conn.head().await;
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"))
                .await;
            let chunk = vec![7; 1 << 16];
            for _ in 0..SIZE / chunk.len() {
                conn.send(&chunk).await;
            }
            let (mut reads, _writes) = conn.split();
            assert_eq!(reads.count(SIZE).await, SIZE);
        })
        .await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Conn::connect(proxy.address).await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"
            ))
            .await;
        let (mut reads, mut writes) = client.split();
        let chunk = vec![7; 1 << 16];
        let write = async {
            for _ in 0..SIZE / chunk.len() {
                writes.send(&chunk).await;
            }
        };
        let read = async {
            assert!(reads.head().await.unwrap().starts_with("HTTP/1.1 200"));
            assert_eq!(reads.count(SIZE).await, SIZE);
        };
        tokio::join!(write, read);
    })
    .await;
}

/// An answer that comes before the upload has been flushed must not cut it off.
#[tokio::test]
async fn an_early_empty_answer_lets_the_upload_finish() {
    const SIZE: usize = 8 << 20;
    within(async {
        let (counted, mut counts) = tokio::sync::mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let counted = counted.clone();
            async move {
                conn.head().await;
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await;
                let (mut reads, _writes) = conn.split();
                let _ = counted.send(reads.count(SIZE).await);
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        assert_eq!(
            send(
                &client,
                Request::post("/")
                    .body(Body::from(Bytes::from(vec![7; SIZE])))
                    .unwrap()
            )
            .await,
            200
        );
        assert_eq!(counts.recv().await, Some(SIZE));
    })
    .await;
}
