//! Clients that do not read their responses.

use http::Request;
use tokio::io::AsyncWriteExt;

use super::support::{Conn, Gateway, Origin, ask, soon};

const FLAGS: &[&str] = &["--write-timeout", "1s"];

/// Sends a response without an end, until that fails: then the endpoint's connection is free.
async fn pour(server: &mut Conn) {
    server.head().await;
    server
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    soon(async { while server.stream.write_all(chunk.as_bytes()).await.is_ok() {} }).await;
}

#[tokio::test]
async fn over_http1_the_connection_is_closed() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, FLAGS);
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    pour(&mut origin.accept().await).await;
}

#[tokio::test]
async fn over_http2_the_stream_is_reset_and_its_neighbours_go_on() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, FLAGS);
    let mut client = h2::client::Builder::new();
    client.initial_connection_window_size(1 << 20);
    let (mut send, _connection) = gateway.connect_http2(&client).await;
    let request = || Request::get("http://a/").body(()).unwrap();
    let mut second = send.clone();
    let (stalled, _) = tokio::join!(ask(&mut send, request()), async {
        pour(&mut origin.accept().await).await;
    });
    let mut body = stalled.unwrap().into_body();
    // The rest of what came, and then the reset.
    let reset = soon(async {
        loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("a whole response"),
            }
        }
    });
    assert!(reset.await.is_reset());
    let (response, ()) = tokio::join!(ask(&mut second, request()), async {
        let mut server = origin.accept().await;
        server.head().await;
        server.send(super::support::OK).await;
    });
    assert_eq!(response.unwrap().status(), 200);
}
