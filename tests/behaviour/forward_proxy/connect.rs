//! CONNECT.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    extract::Request as AxumRequest,
    middleware::{self, Next},
    response::IntoResponse,
};
use axum_upstream::{
    ForwardProxy,
    proxy::{ProxyUser, TargetPolicy},
    upstream,
};
use http::{Request, StatusCode};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tracing_subscriber::filter::LevelFilter;

use super::{Tunnel, both_versions, connect_head, echo, h2_client, local, serve};
use crate::support::{
    Conn, Http, eventually, server,
    spans::{Spans, subscribe},
    within,
};

both_versions! {
    async fn a_tunnel_carries_both_directions(http) {
        let target = echo("hello").await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let mut tunnel = Tunnel::open(http, &proxy, target.address).await.unwrap();
        assert_eq!(tunnel.take(5).await, b"hello");
        for _ in 0..3 {
            tunnel.send("ping").await;
            assert_eq!(tunnel.take(4).await, b"ping");
        }
    }
}

both_versions! {
    /// One half closes, the other goes on.
    async fn half_closing_closes_half(http) {
        let target = echo("").await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let mut tunnel = Tunnel::open(http, &proxy, target.address).await.unwrap();
        tunnel.send("abc").await;
        tunnel.finish().await;
        assert_eq!(tunnel.rest().await, b"abcbye");
    }
}

both_versions! {
    async fn a_target_that_closes_ends_its_half(http) {
        let target = server::raw(|mut conn| async move {
            conn.send("first and last").await;
            conn.finish().await;
            conn.rest().await;
        }).await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let mut tunnel = Tunnel::open(http, &proxy, target.address).await.unwrap();
        assert_eq!(tunnel.rest().await, b"first and last");
    }
}

both_versions! {
    /// One half is not held up by the other, and a reader that is slow loses nothing.
    async fn much_passes_both_ways_at_once(http) {
        const SIZE: usize = 4 << 20;
        static BYTES: [u8; 1 << 16] = [b'x'; 1 << 16];
        let chunk = std::str::from_utf8(&BYTES).unwrap();
        let (told, mut count) = tokio::sync::mpsc::unbounded_channel();
        let target = server::raw(move |conn| {
            let told = told.clone();
            async move {
                let (mut reads, mut writes) = conn.split();
                let write = async {
                    for _ in 0..SIZE / chunk.len() {
                        writes.send(chunk).await;
                    }
                    writes.finish().await;
                };
                let (read, ()) = tokio::join!(reads.count(usize::MAX), write);
                told.send(read).unwrap();
            }
        }).await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let mut tunnel = Tunnel::open(http, &proxy, target.address).await.unwrap();
        // The client sends without reading as long as it can: over HTTP/2 what its windows hold waits in its buffer.
        let send = match http {
            Http::One => chunk.len(),
            Http::Two => SIZE,
        };
        for _ in 0..send / chunk.len() {
            tunnel.send(chunk).await;
        }
        tunnel.finish().await;
        assert_eq!(tunnel.rest().await.len(), SIZE);
        assert_eq!(count.recv().await, Some(send));
    }
}

both_versions! {
    async fn a_client_that_aborts_ends_the_tunnel(http) {
        let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
        let target = server::raw(move |mut conn| {
            let ended = ended.clone();
            async move {
                conn.send("hello").await;
                conn.rest().await;
                let _ = ended.send(());
            }
        }).await;
        let proxy = serve(ForwardProxy::new(local()).max_tunnels_per_client(1)).await;
        let mut tunnel = Tunnel::open(http, &proxy, target.address).await.unwrap();
        assert_eq!(tunnel.take(5).await, b"hello");
        tunnel.abort();
        ends.recv().await.unwrap();
        while Tunnel::open(http, &proxy, target.address).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

both_versions! {
    async fn a_target_that_aborts_ends_the_tunnel(http) {
        let target = server::raw(|mut conn| async move {
            conn.send("hello").await;
            conn.take(1).await;
            conn.abort();
        }).await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let mut tunnel = Tunnel::open(http, &proxy, target.address).await.unwrap();
        assert_eq!(tunnel.take(5).await, b"hello");
        tunnel.send("x").await;
        assert!(tunnel.rest().await.is_empty());
    }
}

/// RFC 9110 9.3.6: no `Content-Length` and no `Transfer-Encoding` in the 2xx; and the bytes that the client sends before
/// it arrive first.
#[tokio::test]
async fn early_bytes_arrive_in_order() {
    within(async {
        let target = echo("hello").await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let mut client = Conn::connect(proxy.address).await;
        let head = connect_head(target.address);
        client.send(format!("{head}early")).await;
        let head = client.head().await.unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        for field in ["content-length", "transfer-encoding", "connection: close"] {
            assert!(!head.contains(field), "{head}");
        }
        assert_eq!(client.take(10).await, b"helloearly");
        client.send("late").await;
        assert_eq!(client.take(4).await, b"late");
    })
    .await;
}

/// Many clients still speak HTTP/1.0 to a proxy, without a `Host`.
#[tokio::test]
async fn http_1_0_opens_tunnels_too() {
    within(async {
        let target = echo("hello").await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let mut client = Conn::connect(proxy.address).await;
        let target = target.address;
        client
            .send(format!("CONNECT {target} HTTP/1.0\r\n\r\n"))
            .await;
        let head = client.head().await.unwrap();
        assert!(head.contains(" 200 "), "{head}");
        assert_eq!(client.take(5).await, b"hello");
    })
    .await;
}

/// RFC 9112 3.2.3: the target is the target, whatever `Host` says.
#[tokio::test]
async fn host_does_not_choose_the_target() {
    within(async {
        let (target, other) = (echo("target").await, echo("other").await);
        let proxy = serve(ForwardProxy::new(local())).await;
        let mut client = Conn::connect(proxy.address).await;
        let (target, other) = (target.address, other.address);
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {other}\r\n\r\n");
        client.send(head).await;
        client.head().await.unwrap();
        assert_eq!(client.take(6).await, b"target");
    })
    .await;
}

/// What is malformed gets a 400, and the connection closes: where the next request begins is unknown.
#[tokio::test]
async fn malformed_requests_are_refused() {
    within(async {
        let target = echo("").await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let target = target.address;
        let port = target.port();
        let requests = [
            // Content, which some would take for the first bytes of the tunnel.
            format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nContent-Length: 3\r\n\r\nabc"),
            format!(
                "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            // RFC 9112 3.2.
            format!("CONNECT {target} HTTP/1.1\r\n\r\n"),
            format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nHost: {target}\r\n\r\n"),
            format!("CONNECT {target} HTTP/1.1\r\nHost: a b\r\n\r\n"),
            // RFC 9110 9.3.6.
            "CONNECT 127.0.0.1 HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            "CONNECT 127.0.0.1:0 HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            "CONNECT 127.0.0.1:65536 HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            format!("CONNECT 127.0.0.1:+{port} HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("CONNECT user@{target} HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("CONNECT user:password@{target} HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("CONNECT http://{target}/ HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("CONNECT {target}/ HTTP/1.1\r\nHost: a\r\n\r\n"),
            "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        ];
        for request in requests {
            let mut client = Conn::connect(proxy.address).await;
            client.send(&request).await;
            let response = client.response().await.expect(&request);
            assert_eq!(response.status(), 400, "{request}");
            assert!(client.closed().await, "{request}");
        }
    })
    .await;
}

/// The same over HTTP/2, as far as it can be said there. Other streams of the connection go on. A CONNECT that declares
/// content does not come here: hyper ends its connection.
#[tokio::test]
async fn malformed_requests_are_refused_over_http2() {
    within(async {
        let target = echo("").await;
        let proxy = serve(ForwardProxy::new(local()).via("me").unwrap()).await;
        let (mut client, _driver) = h2_client(proxy.address).await;
        let target = target.address.to_string();
        let to = |target: &str| Request::connect(target);
        for (request, status) in [
            (to(&target).header("host", "a b"), 400),
            (to(&target).header("host", "a").header("host", "b"), 400),
            (to(&target).header("via", "1.1 me"), 508),
            (to("127.0.0.1"), 400),
            (to("127.0.0.1:0"), 400),
            (to("127.0.0.1:65536"), 400),
            (to("2130706433:443"), 400),
            (to("127.1:443"), 400),
            (to("192.168.0.1:443"), 403),
            (to(&target).header("host", "other.example"), 200),
        ] {
            let request = request.body(()).unwrap();
            let shown = format!("{request:?}");
            let (response, _send) = client.send_request(request, false).unwrap();
            let response = response.await.expect(&shown);
            assert_eq!(response.status(), status, "{shown}");
        }
    })
    .await;
}

/// `Content-Length: 0` says that there is no content.
#[tokio::test]
async fn a_length_of_zero_is_no_content() {
    within(async {
        let target = echo("hello").await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let mut client = Conn::connect(proxy.address).await;
        let target = target.address;
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        client.send(head).await;
        assert!(client.head().await.unwrap().contains(" 200 "));
        assert_eq!(client.take(5).await, b"hello");
    })
    .await;
}

/// Bytes that a client sends in the hope of a tunnel are not read as requests.
#[tokio::test]
async fn a_refused_connect_closes_the_connection() {
    within(async {
        let (target, mut requests) = server::canned(crate::support::proxy::OK).await;
        let policy = local().deny_hosts(["denied.example"]).unwrap();
        let proxy = serve(ForwardProxy::new(policy)).await;
        let smuggled = format!("GET http://{}/ HTTP/1.1\r\nHost: a\r\n\r\n", target.address);
        for head in [
            connect_head("denied.example:443"),
            "CONNECT denied.example:443 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".into(),
        ] {
            let mut client = Conn::connect(proxy.address).await;
            client.send(format!("{head}{smuggled}")).await;
            let response = client.response().await.unwrap();
            assert_eq!(response.status(), 403);
            assert_eq!(response.field("connection"), Some("close"), "{head}");
            assert_eq!(response.text(), "Forbidden: the host is not allowed\n");
            assert!(client.closed().await, "{head}");
            assert!(requests.try_recv().is_err(), "{head}");
        }
    })
    .await;
}

/// RFC 8441: the method is CONNECT, but the target is no authority.
#[tokio::test]
async fn extended_connect_is_refused() {
    within(async {
        let target = echo("").await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let (mut client, _driver) = h2_client(proxy.address).await;
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let request = Request::connect(format!("http://{}/chat", target.address))
            .extension(h2::ext::Protocol::from_static("websocket"))
            .body(())
            .unwrap();
        let (response, _body) = client.send_request(request, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 400);
    })
    .await;
}

both_versions! {
    async fn a_target_that_refuses_is_a_502(http) {
        let target = server::refusing();
        let proxy = serve(ForwardProxy::new(local())).await;
        let refused = Tunnel::open(http, &proxy, target.address).await.err();
        assert_eq!(refused, Some(StatusCode::BAD_GATEWAY));
    }
}

#[tokio::test]
async fn a_target_that_is_not_found_in_time_is_a_504() {
    for http in [Http::One, Http::Two] {
        let resolver =
            service_fn(|_: String| std::future::pending::<std::io::Result<[SocketAddr; 0]>>());
        let client = upstream::Client::builder().resolver(resolver);
        let proxy = serve(ForwardProxy::with_client(local(), client).unwrap()).await;
        // The clock moves to the next timer when nothing else can happen.
        tokio::time::pause();
        let refused = Tunnel::open(http, &proxy, "a.example:443").await.err();
        assert_eq!(refused, Some(StatusCode::GATEWAY_TIMEOUT));
        tokio::time::resume();
    }
}

/// A proxy that has seen a request before does not connect for it.
#[tokio::test]
async fn loops_are_detected() {
    within(async {
        let target = echo("").await;
        let proxy = serve(ForwardProxy::new(local()).via("me").unwrap()).await;
        let target = target.address;
        for (via, status) in [
            ("1.1 me", 508),
            ("1.1 other", 200),
            ("1.1 other, 2 me", 508),
        ] {
            let mut client = Conn::connect(proxy.address).await;
            let head = format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\nVia: {via}\r\n\r\n");
            client.send(head).await;
            let head = client.head().await.unwrap();
            assert!(head.contains(&format!(" {status} ")), "{head}");
        }
    })
    .await;
}

/// A tunnel through the proxy to itself takes a request of the client for each hop, and is none of the public internet.
#[tokio::test]
async fn the_proxy_itself_is_no_target_by_default() {
    within(async {
        let policy = TargetPolicy::new().connect_ports([1..=u16::MAX]);
        let proxy = serve(ForwardProxy::new(policy)).await;
        for http in [Http::One, Http::Two] {
            let refused = Tunnel::open(http, &proxy, proxy.address).await.err();
            assert_eq!(refused, Some(StatusCode::FORBIDDEN));
        }
    })
    .await;
}

/// A user is known to the policy by what the layer in front has put into the extensions, and by nothing else.
#[tokio::test]
async fn the_policy_knows_the_user() {
    within(async {
        let target = echo("hello").await;
        let policy = local().check(|facts| match facts.user() {
            Some("alan") if facts.client() == Some([127, 0, 0, 1].into()) => Ok(()),
            _ => Err("only alan may"),
        });
        let proxy = ForwardProxy::new(policy);
        let authenticate = |mut request: AxumRequest, next: Next| async move {
            let field = request.headers().get("proxy-authorization");
            let user = match field.map(|value| value.as_bytes()) {
                Some(b"Basic YWxhbjplbmlnbWE=") => "alan",
                Some(_) => "grace",
                None => {
                    let ask = [("proxy-authenticate", "Basic realm=\"proxy\"")];
                    return (StatusCode::PROXY_AUTHENTICATION_REQUIRED, ask).into_response();
                }
            };
            request.extensions_mut().insert(ProxyUser::new(user));
            next.run(request).await
        };
        let server = server::Server::accepting(move |stream, peer| {
            let service = ServiceBuilder::new()
                .layer(middleware::from_fn(authenticate))
                .service(proxy.clone().client_addr(peer));
            async move {
                // A layer around the proxy works as in a router.
                let router = axum::Router::new().fallback_service(service);
                server::speak(stream, router).await;
            }
        })
        .await;
        let target = target.address;
        for (field, status) in [
            ("", 407),
            ("Proxy-Authorization: Basic eDp5\r\n", 403),
            ("Proxy-Authorization: Basic YWxhbjplbmlnbWE=\r\n", 200),
        ] {
            let mut client = Conn::connect(server.address).await;
            client
                .send(format!(
                    "CONNECT {target} HTTP/1.1\r\nHost: a\r\n{field}\r\n"
                ))
                .await;
            let head = client.head().await.unwrap();
            assert!(head.contains(&format!(" {status} ")), "{head}");
            assert_eq!(
                status == 407,
                head.contains("proxy-authenticate: "),
                "{head}"
            );
        }
    })
    .await;
}

/// A server that cannot hand its connections over is a mistake of this side.
#[tokio::test]
async fn without_upgrades_there_are_no_tunnels() {
    let proxy = ForwardProxy::new(local());
    let request = Request::connect("127.0.0.1:1").header("host", "a");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = proxy.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 500);
}

/// What is written of a tunnel, once, when it has ended.
#[tokio::test]
async fn each_tunnel_has_a_line_in_the_log() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = subscribe(subscriber);
    let text = || String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    within(async {
        let target = echo("hello").await;
        let proxy = serve(ForwardProxy::new(local())).await;
        for http in [Http::One, Http::Two] {
            let mut tunnel = Tunnel::open(http, &proxy, target.address).await.unwrap();
            tunnel.send("ab").await;
            tunnel.finish().await;
            assert_eq!(tunnel.rest().await, b"helloabbye");
        }
        eventually(|| text().matches("CONNECT tunnel ended").count() == 2).await;
        let target = target.address;
        for line in text().lines() {
            for part in [
                "INFO",
                "client=127.0.0.1",
                &format!("target={target}"),
                &format!("address={target}"),
                "seconds=",
                "bytes_up=2",
                "bytes_down=10",
                "end=\"closed\"",
            ] {
                assert!(line.contains(part), "{part}: {line}");
            }
        }
    })
    .await;
}

/// The span of the exchange, and that it ends with the tunnel.
#[tokio::test]
async fn the_exchange_ends_with_the_tunnel() {
    let (spans, _guard) = Spans::capture(LevelFilter::DEBUG);
    within(async {
        let target = echo("hello").await;
        let proxy = serve(ForwardProxy::new(local())).await;
        let mut tunnel = Tunnel::open(Http::One, &proxy, target.address)
            .await
            .unwrap();
        assert_eq!(tunnel.take(5).await, b"hello");
        assert!(spans.all().iter().all(|span| !span.closed));
        tunnel.finish().await;
        eventually(|| spans.all_closed()).await;
        let refused = server::refusing();
        Tunnel::open(Http::One, &proxy, refused.address)
            .await
            .err()
            .unwrap();
        eventually(|| spans.named("request").len() == 2 && spans.all_closed()).await;
    })
    .await;
    let requests = spans.named("request");
    for (request, status, error) in [
        (&requests[0], "200", None),
        (&requests[1], "502", Some("connect")),
    ] {
        assert_eq!(request.field("http.response.status_code"), Some(status));
        assert_eq!(request.field("error.type"), error);
    }
}

both_versions! {
    /// A tunnel outlives the proxy, and ends when it is told to.
    async fn tunnels_are_closed_on_demand(http) {
        let target = echo("hello").await;
        let proxy = ForwardProxy::new(local());
        let server = serve(proxy.clone()).await;
        let mut tunnel = Tunnel::open(http, &server, target.address).await.unwrap();
        assert_eq!(tunnel.take(5).await, b"hello");
        proxy.close_tunnels(Duration::ZERO).await;
        assert!(tunnel.rest().await.is_empty());
    }
}
