//! Request heads that are large. The limits are the same for both versions.

use http::Request;
use tokio::io::AsyncReadExt;

use super::support::{Gateway, OK, Origin, ask, soon};

const FLAGS: &[&str] = &["--max-head", "64KiB", "--max-fields", "200"];

/// Fields, and the status that they get.
fn cases() -> [(Vec<(&'static str, String)>, u16); 5] {
    let short = |n: usize| {
        (0..n)
            .map(|_| ("x-short", "1".to_owned()))
            .collect::<Vec<_>>()
    };
    [
        (vec![("cookie", "c".repeat(60 << 10))], 200),
        (vec![("cookie", "c".repeat(70 << 10))], 431),
        (vec![("cookie", "c".repeat(120 << 10))], 431),
        (short(150), 200),
        (short(201), 431),
    ]
}

#[tokio::test]
async fn over_http1() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, FLAGS);
    for (fields, status) in cases() {
        let fields: String = fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let mut client = gateway.connect().await;
        client
            .send(&format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"))
            .await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
}

/// Its client sends more than is read, and is told so; a reset would have it lose the answer.
#[tokio::test]
async fn a_head_that_is_refused_half_way_is_not_reset() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, FLAGS);
    let mut client = gateway.connect().await;
    let much = "c".repeat(1 << 20);
    client
        .send(&format!("GET / HTTP/1.1\r\nhost: a\r\ncookie: {much}"))
        .await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    let mut end = [0];
    let end = soon(client.stream.read(&mut end)).await;
    assert!(matches!(end, Ok(0)), "{end:?}");
}

/// What is too large is refused alone: all of these are on one connection.
#[tokio::test]
async fn over_http2() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, FLAGS);
    let (mut send, _connection) = gateway.connect_http2(&h2::client::Builder::new()).await;
    for (fields, status) in cases() {
        let mut request = Request::get("http://a/");
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let response = ask(&mut send, request.body(()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
    }
}

/// Browsers send each cookie in a field of its own over HTTP/2, where each counts 32 bytes more.
#[tokio::test]
async fn cookies_in_many_fields_count_as_one() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, FLAGS);
    let (mut send, _connection) = gateway.connect_http2(&h2::client::Builder::new()).await;
    let mut request = Request::get("http://a/");
    for _ in 0..300 {
        request = request.header("cookie", "c".repeat(200));
    }
    let response = ask(&mut send, request.body(()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
}
