//! Clients that say nothing, or not all.

use http::Request;
use tokio::io::AsyncWriteExt;

use super::support::{Gateway, OK, Origin, ask, soon};

const SHORT: &[&str] = &["--head-timeout", "300ms", "--idle-timeout", "300ms"];

#[tokio::test]
async fn silent_clients_are_closed() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, SHORT);
    let kinds = [
        ("", ""),
        ("P", ""),
        ("PRI * HTTP/2.0\r\n\r\n", ""),
        ("G", "HTTP/1.1 408 "),
        ("GET / HTTP/1.1\r\nhost: a\r\n", "HTTP/1.1 408 "),
    ];
    for (said, answer) in kinds {
        let mut client = gateway.connect().await;
        client.send(said).await;
        let response = client.rest().await;
        assert!(response.starts_with(answer), "{said:?}: {response}");
        assert_eq!(
            response.is_empty(),
            answer.is_empty(),
            "{said:?}: {response}"
        );
    }
    gateway.connect().await.get().await;
}

#[tokio::test]
async fn an_idle_client_is_closed_and_so_is_one_with_half_a_second_request() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, SHORT);
    for (more, answer) in [("", ""), ("GET / HT", "HTTP/1.1 408 ")] {
        let mut client = gateway.connect().await;
        client.get().await;
        client.send(more).await;
        let rest = client.rest().await;
        assert!(rest.starts_with(answer), "{more:?}: {rest}");
        assert_eq!(rest.is_empty(), answer.is_empty(), "{more:?}: {rest}");
    }
}

/// However long the endpoint takes, and however slowly a body comes: those have limits of their own.
#[tokio::test]
async fn a_client_that_waits_is_not_silent() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, SHORT);
    let mut client = gateway.connect().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na")
        .await;
    let mut server = origin.accept().await;
    server.head().await;
    // The time of a silent client, twice.
    assert_eq!(gateway.connect().await.rest().await, "");
    client.send("b").await;
    server.exactly(2).await;
    assert_eq!(gateway.connect().await.rest().await, "");
    server.send(OK).await;
    client.expect_ok().await;
}

/// By GOAWAY, so that a request that was on its way is not lost.
#[tokio::test]
async fn an_idle_client_of_http2_is_told_to_go_away() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, SHORT);
    let (mut send, connection) = gateway.connect_http2(&h2::client::Builder::new()).await;
    let request = Request::get("http://a/").body(()).unwrap();
    let response = ask(&mut send, request).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(response);
    let ended = soon(connection).await.unwrap();
    assert!(ended.is_ok(), "{ended:?}");
}

/// It does not acknowledge what it is told, and is closed all the same.
#[tokio::test]
async fn a_silent_client_of_http2_is_closed() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, SHORT);
    for settings in [&[][..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]] {
        let mut client = gateway.connect().await;
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        client.stream.write_all(settings).await.unwrap();
        client.drain().await;
    }
}
