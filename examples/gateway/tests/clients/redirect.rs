//! Clients that come without TLS, where there is TLS.

use http::Request;
use tokio::io::AsyncWriteExt;

use super::{
    authority::{Authority, Folder},
    proxy_protocol::v2 as header,
    support::{Conn, Gateway, OK, Origin, ask},
};

#[tokio::test]
async fn they_are_sent_to_the_listener_with_tls() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let mut flags = vec!["--redirect-https", "--tls-listen", "127.0.0.1:0"];
    flags.extend(pair.iter().map(String::as_str));
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, &flags);
    let port = gateway.address_of(1).port();
    let there = format!("https://a.example:{port}/b?c=%20");

    let mut client = gateway.connect().await;
    for _ in 0..2 {
        client
            .send("POST /b?c=%20 HTTP/1.1\r\nhost: a.example:80\r\ncontent-length: 0\r\n\r\n")
            .await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 308 "), "{head}");
        assert!(
            head.contains(&format!("\r\nlocation: {there}\r\n")),
            "{head}"
        );
    }
    let (mut send, connection) = gateway.connect_http2(&h2::client::Builder::new()).await;
    let request = Request::get("http://a.example/b?c=%20").body(()).unwrap();
    let response = ask(&mut send, request).await.unwrap();
    assert_eq!(response.status(), 308);
    assert_eq!(response.headers()["location"], *there);
    connection.abort();

    let stream = authority
        .connect(gateway.address_of(1), "a.example", &[], None)
        .await;
    Conn::over(stream.unwrap()).get().await;
}

/// A PROXY header says so. A redirect would lead to the load balancer, and from there here again.
#[tokio::test]
async fn a_client_that_speaks_tls_with_a_load_balancer_is_not_sent_anywhere() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let mut flags = vec!["--redirect-https", "--tls-listen", "127.0.0.1:0"];
    flags.extend(["--proxy-protocol", "127.0.0.1"]);
    flags.extend(pair.iter().map(String::as_str));
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, &flags);
    for is_tls in [false, true] {
        let mut client = gateway.connect().await;
        let tls = match is_tls {
            true => &[0x20, 0, 5, 1, 0, 0, 0, 0][..],
            false => &[],
        };
        client.stream.write_all(&header(tls)).await.unwrap();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let head = client.head().await;
        let expected = if is_tls { "200" } else { "308" };
        assert!(head.starts_with(&format!("HTTP/1.1 {expected} ")), "{head}");
    }
}
