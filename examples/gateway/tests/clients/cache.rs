//! Responses that are kept. What is kept, and for how long, is tested where the cache is.

use http::Request;

use super::support::{Conn, Gateway, Origin, ask};

const FRESH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncache-control: max-age=60\r\n\r\nok";

const FLAGS: &[&str] = &["--cache", "1MiB"];

/// Sends a GET with these fields, and returns what is said of it.
async fn status(client: &mut Conn, target: &str, fields: &str) -> String {
    client
        .send(&format!("GET {target} HTTP/1.1\r\nhost: a\r\n{fields}\r\n"))
        .await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(client.exactly(2).await, b"ok");
    let lines = head.lines();
    let mut said = lines.filter_map(|line| line.strip_prefix("cache-status: axum-upstream; "));
    let said = said.next().unwrap_or_default();
    said.split("; ttl").next().unwrap_or_default().to_owned()
}

/// One client's miss is the hit of another one, whatever versions they speak.
#[tokio::test]
async fn both_versions_share_it() {
    let origin = Origin::new().await.answering(FRESH);
    let gateway = Gateway::start(&origin, FLAGS);
    let mut client = gateway.connect().await;
    assert_eq!(status(&mut client, "/x", "").await, "fwd=uri-miss; stored");
    assert_eq!(status(&mut client, "/x", "").await, "hit");
    let (mut send, _connection) = gateway.connect_http2(&h2::client::Builder::new()).await;
    let request = Request::get("http://a/x").body(()).unwrap();
    let response = ask(&mut send, request).await.unwrap();
    let said = response.headers()["cache-status"].to_str().unwrap();
    assert!(said.starts_with("axum-upstream; hit; ttl="), "{said}");
    assert!(response.headers().contains_key("age"));
}

/// What a load balancer in front says of its client does not keep a request from the cache, because the proxy replaces
/// it. What the proxy forwards does.
#[tokio::test]
async fn fields_that_the_proxy_replaces_steer_nothing() {
    let origin = Origin::new().await.answering(FRESH);
    let gateway = Gateway::start(&origin, FLAGS);
    let mut client = gateway.connect().await;
    let balancer = "x-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: https\r\nforwarded: for=b\r\n";
    let said = status(&mut client, "/x", balancer).await;
    assert_eq!(said, "fwd=uri-miss; stored");
    assert_eq!(
        status(&mut client, "/x", "x-forwarded-host: b\r\n").await,
        "hit"
    );
    assert_eq!(
        status(&mut client, "/x", "x-rewrite-url: /b\r\n").await,
        "fwd=bypass"
    );
}

/// A client without TLS cannot fill the cache of those with it.
#[tokio::test]
async fn the_scheme_is_that_of_the_connection() {
    let origin = Origin::new().await.answering(FRESH);
    let gateway = Gateway::start(&origin, FLAGS);
    let mut client = gateway.connect().await;
    assert_eq!(status(&mut client, "https://a/x", "").await, "fwd=bypass");
    assert_eq!(
        status(&mut client, "http://a/x", "").await,
        "fwd=uri-miss; stored"
    );
    assert_eq!(status(&mut client, "/x", "").await, "hit");
}

/// A WebSocket is opened through the cache.
#[tokio::test]
async fn upgrades_go_through() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, FLAGS);
    let mut client = gateway.connect().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    let mut server = origin.accept().await;
    server.head().await;
    server
        .send("HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello")
        .await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(client.exactly(5).await, b"hello");
    client.send("there").await;
    assert_eq!(server.exactly(5).await, b"there");
}
