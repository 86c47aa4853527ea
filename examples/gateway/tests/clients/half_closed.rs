//! Clients that close their half of the connection, and clients that are gone.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::support::{Gateway, OK, Origin};

/// A FIN says that no more requests come, and not that the response is not wanted (RFC 9112, 9.6).
#[tokio::test]
async fn a_client_that_closes_its_half_gets_its_answer() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, &[]);
    for fields in ["", "connection: close\r\n"] {
        let mut client = gateway.connect().await;
        client
            .send(&format!(
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n{fields}\r\nhello"
            ))
            .await;
        client.stream.shutdown().await.unwrap();
        let mut server = origin.accept().await;
        server.head().await;
        server.exactly(5).await;
        // What every response begins with comes as soon as the gateway has seen the client's end.
        assert_eq!(client.exactly(7).await, b"HTTP/1.");
        server.send(OK).await;
        let response = client.rest().await;
        assert!(response.starts_with("1 200 OK\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\nok"), "{response}");
        assert!(!response.contains("HTTP/1."), "{response}");
    }
}

#[tokio::test]
async fn requests_sent_before_the_half_was_closed_are_all_answered() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, &[]);
    let mut client = gateway.connect().await;
    client
        .send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    client.stream.shutdown().await.unwrap();
    client.expect_ok().await;
    client.expect_ok().await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_http10_client_that_closes_its_half_gets_its_answer() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, &[]);
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
    client.stream.shutdown().await.unwrap();
    let mut server = origin.accept().await;
    server.head().await;
    assert_eq!(client.exactly(7).await, b"HTTP/1.");
    server.send(OK).await;
    let response = client.rest().await;
    assert!(response.starts_with("0 200 OK\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\nok"), "{response}");
}

/// The request at the endpoint is cancelled, as it is when a client resets its connection.
#[tokio::test]
async fn a_client_that_is_gone_is_seen_to_be() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, &[]);
    for reset in [false, true] {
        let mut client = gateway.connect().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut server = origin.accept().await;
        server.head().await;
        if reset {
            client.stream.set_zero_linger().unwrap();
        }
        drop(client);
        assert_eq!(server.rest().await, "");
    }
}

#[tokio::test]
async fn a_client_that_is_gone_in_mid_body_is_seen_to_be() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, &[]);
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut server = origin.accept().await;
    server.head().await;
    server
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        .await;
    client.head().await;
    drop(client);
    // What is sent next is answered with a reset.
    let sends = async {
        while server.stream.write_all(b"1\r\na\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    super::support::soon(sends).await;
}
