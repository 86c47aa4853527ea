//! Clients that come without TLS, where there is TLS.

use http::Request;

use super::{
    authority::{Authority, Folder},
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
