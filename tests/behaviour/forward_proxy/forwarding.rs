//! Requests with a target in absolute form.

use axum::{Router, body::Bytes as AxumBytes, extract::Request as AxumRequest, routing::any};
use axum_upstream::{Body, ForwardProxy, proxy::TargetPolicy, upstream};
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use super::{both_versions, h2_client, local, serve};
use crate::support::{
    Conn, Http, Message, counted,
    proxy::OK,
    server::{self, Server},
    tls, within,
};

/// Sends a request with an absolute target over either version, and returns the status and the body.
async fn send(http: Http, proxy: &Server, request: Request<Body>) -> (StatusCode, String) {
    let stream = TokioIo::new(TcpStream::connect(proxy.address).await.unwrap());
    let response = match http {
        Http::One => {
            let (mut sender, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
        Http::Two => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream)
                .await
                .unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
    };
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

fn get(url: impl std::fmt::Display) -> Request<Body> {
    let request = Request::get(url.to_string());
    let host = request
        .uri_ref()
        .unwrap()
        .authority()
        .unwrap()
        .as_str()
        .to_owned();
    request.header("host", host).body(Body::empty()).unwrap()
}

/// Sends raw bytes through a proxy to a server that answers "ok". `{}` stands for the server's address.
async fn exchange(
    settings: impl FnOnce(ForwardProxy) -> ForwardProxy,
    request: &str,
) -> (Option<Message>, Message, String) {
    within(async {
        let (server, mut requests) = server::canned(OK).await;
        let proxy = serve(settings(ForwardProxy::new(local()))).await;
        let mut client = Conn::connect(proxy.address).await;
        let address = server.address.to_string();
        client.send(request.replace("{}", &address)).await;
        let down = client.response().await.expect("no whole response");
        (requests.try_recv().ok(), down, address)
    })
    .await
}

both_versions! {
    async fn a_request_reaches_its_target(http) {
        let app = Router::new().fallback(any(async |request: AxumRequest| {
            let head = format!("{} {} ", request.method(), request.uri());
            let body = axum::body::to_bytes(request.into_body(), 99).await.unwrap();
            AxumBytes::from([head.as_bytes(), &body].concat())
        }));
        let target = server::app(app).await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let request = Request::post(format!("{}/a%2fb?c=d", target.url()));
        let request = request.header("host", target.address.to_string());
        let request = request.body(Body::from("body")).unwrap();
        let (status, body) = send(http, &proxy, request).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "POST /a%2fb?c=d body"));
    }
}

/// RFC 9112 3.2.2: the proxy "MUST ignore the received Host header field (if any) and instead replace it with the host
/// information of the request-target". The target is in origin form upstream.
#[tokio::test]
async fn the_target_replaces_host() {
    let request = "GET http://{}/x HTTP/1.1\r\nHost: other.example\r\n\r\n";
    let (up, down, address) = exchange(|proxy| proxy, request).await;
    assert_eq!(down.text(), "ok");
    let up = up.unwrap();
    assert_eq!(up.start_line(), "GET /x HTTP/1.1");
    assert_eq!(up.field("host"), Some(address.as_str()));
}

/// What is between the client and the proxy stays there, and the client is not mentioned.
#[tokio::test]
async fn the_head_says_nothing_of_the_client() {
    let request = "GET http://{}/ HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic eDp5\r\n\
                   Proxy-Connection: keep-alive\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\n\
                   X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n\
                   Upgrade: websocket\r\nX-Kept: 1\r\n\r\n";
    let (up, _, _) = exchange(|proxy| proxy.via("me").unwrap(), request).await;
    let up = up.unwrap();
    assert_eq!(up.field("x-kept"), Some("1"));
    assert_eq!(up.field("via"), Some("1.1 me"));
    for field in [
        "proxy-authorization",
        "proxy-connection",
        "connection",
        "x-hop",
        "keep-alive",
        "te",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "forwarded",
        "x-real-ip",
        "upgrade",
    ] {
        assert!(!up.has(field), "{field}: {}", up.head);
    }
}

#[tokio::test]
async fn a_client_is_disclosed_by_choice() {
    let request = "GET http://{}/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    let (up, _, address) = exchange(ForwardProxy::disclose_client, request).await;
    let up = up.unwrap();
    assert_eq!(up.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(up.field("x-forwarded-proto"), Some("http"));
    assert_eq!(up.field("x-forwarded-host"), Some(address.as_str()));
    let hidden = |proxy: ForwardProxy| proxy.disclose_client().hide_client();
    let (up, _, _) = exchange(hidden, request).await;
    assert!(!up.unwrap().has("x-forwarded-for"));
}

#[tokio::test]
async fn a_loop_is_refused() {
    let request = "GET http://{}/ HTTP/1.1\r\nHost: a\r\nVia: 1.1 me\r\n\r\n";
    let (up, down, _) = exchange(|proxy| proxy.via("me").unwrap(), request).await;
    assert_eq!(down.status(), 508);
    assert!(up.is_none());
}

/// The proxy, asked for itself, asks itself once.
#[tokio::test]
async fn a_request_for_the_proxy_itself_is_a_loop() {
    within(async {
        let proxy = serve(ForwardProxy::new(local())).await;
        let (status, _) = send(Http::One, &proxy, get(proxy.url() + "/")).await;
        // The second time its target is in origin form, which is for the server itself.
        assert_eq!(status, StatusCode::BAD_REQUEST);
    })
    .await;
}

/// A redirect is the client's to follow: what the policy was asked about is the first target alone.
#[tokio::test]
async fn redirects_are_passed_on() {
    within(async {
        let (hidden, mut requests) = server::canned(OK).await;
        let redirect = format!(
            "HTTP/1.1 302 Found\r\nLocation: {}/\r\nContent-Length: 0\r\n\r\n",
            hidden.url()
        );
        let (server, _) = server::canned(redirect).await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let mut client = Conn::connect(proxy.address).await;
        let head = format!("GET {}/ HTTP/1.1\r\nHost: a\r\n\r\n", server.url());
        client.send(head).await;
        let response = client.response().await.unwrap();
        assert_eq!(response.status(), 302);
        assert_eq!(
            response.field("location"),
            Some(format!("{}/", hidden.url()).as_str())
        );
        assert!(requests.try_recv().is_err());
    })
    .await;
}

#[tokio::test]
async fn malformed_targets_are_refused() {
    for target in [
        "http://user@{}/",
        "http://user:password@{}/",
        "ftp://{}/",
        "ws://{}/",
        "{}",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:0/",
        "http:///x",
        // For the server itself, which has nothing to say.
        "/",
        "*",
    ] {
        let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: {{}}\r\n\r\n");
        let (up, down, _) = exchange(|proxy| proxy, &request).await;
        assert_eq!(down.status(), 400, "{target}");
        assert!(up.is_none(), "{target}");
    }
    // RFC 9112 3.2, though the target names the host.
    for hosts in ["Host: a\r\nHost: b\r\n", "Host: a b\r\n"] {
        let request = format!("GET http://{{}}/ HTTP/1.1\r\n{hosts}\r\n");
        let (up, down, _) = exchange(|proxy| proxy, &request).await;
        assert_eq!((down.status(), up.is_none()), (400, true), "{hosts}");
    }
}

#[tokio::test]
async fn origin_form_is_for_the_server_itself() {
    let own = || Router::new().route("/healthz", any(async || "well"));
    let request = "GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n";
    let (up, down, _) = exchange(|proxy| proxy.origin_form(own()), request).await;
    assert_eq!((down.text().as_str(), up.is_none()), ("well", true));
    // The paths of other servers are none of the server's own.
    let request = "GET http://{}/healthz HTTP/1.1\r\nHost: {}\r\n\r\n";
    let (up, down, _) = exchange(|proxy| proxy.origin_form(own()), request).await;
    assert_eq!((down.text().as_str(), up.is_some()), ("ok", true));
}

/// A request over HTTP/2 without `:authority` names no server, whatever its `Host` says.
#[tokio::test]
async fn without_an_authority_a_request_is_for_the_server_itself() {
    within(async {
        let own = Router::new().route("/healthz", any(async || "well"));
        let with = serve(ForwardProxy::new(local()).origin_form(own)).await;
        let without = serve(ForwardProxy::new(local())).await;
        for (proxy, status) in [(with, 200), (without, 400)] {
            let (mut client, _driver) = h2_client(proxy.address).await;
            let request = Request::get("/healthz").header("host", "other.example");
            // The h2 crate sends a request of HTTP/2 with its authority only.
            let request = request.version(Version::HTTP_11).body(()).unwrap();
            let (response, _) = client.send_request(request, true).unwrap();
            assert_eq!(response.await.unwrap().status(), status);
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_may_be_limited() {
    let request = "POST http://{}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let (up, down, _) = exchange(|proxy| proxy.body_limit(3), request).await;
    assert_eq!((down.status(), up.is_none()), (413, true));
}

/// An interim hop adds nothing to the trailers, and loses none.
#[tokio::test]
async fn trailers_pass() {
    let request = "POST http://{}/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                   4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n";
    let (up, _, _) = exchange(|proxy| proxy, request).await;
    let up = up.unwrap();
    assert_eq!(
        (up.text().as_str(), up.trailers.as_str()),
        ("body", "x-sum: 1\r\n")
    );
}

both_versions! {
    /// All clients share the connections to one target.
    async fn connections_are_shared(http) {
        let (target, count) = counted::http1(usize::MAX).await;
        let proxy = serve(ForwardProxy::new(local())).await;
        for _ in 0..3 {
            let (status, body) = send(http, &proxy, get(target.url())).await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, "ok"));
        }
        assert_eq!(count.made(), 1);
    }
}

both_versions! {
    /// The proxy speaks TLS for a client that asks it to, and verifies the server.
    async fn https_targets_are_reached_over_tls(http) {
        let authority = tls::Authority::new();
        let identity = authority.issue(&["localhost"], |_| {});
        let app = Router::new().fallback(any(async || "secret"));
        let target = tls::app(app, identity.server(), &["h2", "http/1.1"]).await;
        let url = format!("https://localhost:{}/", target.address.port());
        let client = upstream::Client::builder().tls(authority.client());
        let proxy = serve(ForwardProxy::with_client(local(), client).unwrap()).await;
        let (status, body) = send(http, &proxy, get(&url)).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "secret"));

        let client = upstream::Client::builder().tls(tls::trusting_nobody());
        let proxy = serve(ForwardProxy::with_client(local(), client).unwrap()).await;
        let (status, _) = send(http, &proxy, get(&url)).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
    }
}

/// On a host without IPv6 there is nothing to be shown.
#[tokio::test]
async fn ipv6_literals_are_reached() {
    within(async {
        let Ok(listener) = TcpListener::bind("[::1]:0").await else {
            return;
        };
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut conn = Conn::new(stream);
            let request = conn.request().await.unwrap();
            assert_eq!(request.field("host"), Some(address.to_string().as_str()));
            conn.send(OK).await;
        });
        let proxy = serve(ForwardProxy::new(local())).await;
        let (status, _) = send(Http::One, &proxy, get(format!("http://{address}/"))).await;
        assert_eq!(status, StatusCode::OK);
    })
    .await;
}

/// The proxy needs no server around it that knows the client's address.
#[tokio::test]
async fn a_policy_without_rules_is_the_public_internet() {
    within(async {
        let (target, count) = counted::http1(1).await;
        let policy = TargetPolicy::new().http_ports([1..=u16::MAX]);
        let proxy = serve(ForwardProxy::new(policy)).await;
        let (status, body) = send(Http::One, &proxy, get(target.url())).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(body, "Forbidden: the address is not allowed\n");
        assert_eq!(count.made(), 0);
    })
    .await;
}
