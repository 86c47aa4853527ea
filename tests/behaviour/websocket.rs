//! WebSockets from clients and to endpoints of either version (RFC 6455, RFC 8441).

use std::time::Duration;

use axum::{Router, routing::any};
use axum_upstream::{
    Body, LoadBalance, ReverseProxy,
    upstream::{Client as UpstreamClient, upgrade},
};
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message as Frame;
use tower::ServiceExt;

use crate::support::{
    Client, Conn, Http, eventually, h2, proxy,
    server::{self, Server},
    tls, versions,
    websocket::{connect, echo, open, stream},
    within,
};

/// A balancing proxy in front of one endpoint of a version.
async fn balanced(server: &Server, http: Http) -> (Server, axum_upstream::balance::Handle) {
    let balance = LoadBalance::new([server.url_for(http)]).unwrap();
    let handle = balance.handle();
    (proxy::serve(ReverseProxy::new(balance)).await, handle)
}

versions! {
    /// Checks 5 and 36: messages of both kinds and of all sizes come back, and the tunnel is load until it has closed.
    async fn messages_are_echoed(down, up) {
        let server = server::app(echo()).await;
        let (proxy, handle) = balanced(&server, up).await;
        let mut socket = open(down, proxy.address).await;
        assert_eq!(handle.endpoints()[0].in_flight, 1);
        for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let message = Frame::binary(vec![b'x'; size]);
            socket.messages.send(message.clone()).await.unwrap();
            assert_eq!(socket.messages.next().await.unwrap().unwrap(), message);
        }
        socket.messages.send(Frame::text("ü")).await.unwrap();
        assert_eq!(socket.messages.next().await.unwrap().unwrap(), Frame::text("ü"));
        socket.messages.close(None).await.unwrap();
        while socket.messages.next().await.is_some() {}
        drop(socket);
        eventually(|| handle.endpoints()[0].in_flight == 0).await;
    }
}

versions! {
    /// Check 40: a client that is gone ends the tunnel.
    async fn an_aborted_client_ends_the_tunnel(down, up) {
        let server = server::app(echo()).await;
        let (proxy, handle) = balanced(&server, up).await;
        let socket = open(down, proxy.address).await;
        assert_eq!(handle.endpoints()[0].in_flight, 1);
        drop(socket);
        eventually(|| handle.endpoints()[0].in_flight == 0).await;
    }
}

versions! {
    /// Many tunnels side by side do not wait for one another.
    async fn tunnels_are_independent(down, up) {
        let server = server::app(echo()).await;
        let (proxy, handle) = balanced(&server, up).await;
        let mut sockets = Vec::new();
        for _ in 0..20 {
            sockets.push(open(down, proxy.address).await);
        }
        assert_eq!(handle.endpoints()[0].in_flight, 20);
        for (n, socket) in sockets.iter_mut().enumerate().rev() {
            let message = Frame::text(n.to_string());
            socket.messages.send(message.clone()).await.unwrap();
            assert_eq!(socket.messages.next().await.unwrap().unwrap(), message);
        }
    }
}

versions! {
    /// A drain ends tunnels of both versions at its deadline.
    async fn draining_ends_tunnels(down, up) {
        let server = server::app(echo()).await;
        let (proxy, handle) = balanced(&server, up).await;
        let mut socket = open(down, proxy.address).await;
        let url = server.url_for(up);
        handle.drain(&url, Duration::ZERO).await;
        assert!(!matches!(socket.messages.next().await, Some(Ok(_))));
    }
}

/// Check 39, over HTTP/2 toward the client: one half closes, the other goes on.
#[tokio::test]
async fn half_closing_closes_half() {
    within(async {
        let server = server::raw(|mut conn| async move {
            let key = key_of(&conn.head().await.unwrap());
            conn.send(agree(&accept(&key))).await;
            let all = conn.rest().await;
            conn.send(all).await;
            conn.send("bye").await;
        })
        .await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Client::connect(Http::Two, proxy.address).await;
        let mut stream = stream(client.send(connect("websocket")).await).await;
        stream.write_all(b"abc").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"abcbye");
    })
    .await;
}

/// Check 41: tunnels over HTTP/2 end by idling, on both sides.
#[tokio::test]
async fn a_tunnel_ends_by_idling_only() {
    for up in [Http::One, Http::Two] {
        let server = server::app(echo()).await;
        let settings = ReverseProxy::to(&server.url_for(up))
            .unwrap()
            .total_timeout(Duration::from_secs(2));
        let proxy = proxy::serve(settings.idle_timeout(Duration::from_secs(5))).await;
        let mut socket = open(Http::Two, proxy.address).await;
        tokio::time::pause();
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(3)).await;
            socket.messages.send(Frame::text("a")).await.unwrap();
            assert_eq!(
                socket.messages.next().await.unwrap().unwrap(),
                Frame::text("a")
            );
        }
        assert!(!matches!(socket.messages.next().await, Some(Ok(_))));
        tokio::time::resume();
    }
}

/// The value of `Sec-WebSocket-Key` in a head.
fn key_of(head: &str) -> String {
    let line = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then(|| value.trim().to_owned())
    });
    line.unwrap()
}

/// What accepts a key, by another implementation than the one under test.
fn accept(key: &str) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes())
}

/// A 101 that accepts.
fn agree(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\nSet-Cookie: a=1\r\n\r\n"
    )
}

/// RFC 8441 5: the handshake of HTTP/2 becomes that of HTTP/1.1, and its answer a 200 without what only HTTP/1.1 has.
#[tokio::test]
async fn the_handshake_is_translated_for_an_http1_endpoint() {
    within(async {
        let (told, mut heads) = tokio::sync::mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let told = told.clone();
            async move {
                let head = conn.head().await.unwrap();
                conn.send(agree(&accept(&key_of(&head)))).await;
                told.send(head).unwrap();
                conn.rest().await;
            }
        })
        .await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Client::connect(Http::Two, proxy.address).await;
        let mut request = connect("websocket");
        for (name, value) in [
            ("origin", "https://a"),
            ("sec-websocket-protocol", "chat"),
            ("sec-websocket-extensions", "permessage-deflate"),
            // A client that speaks HTTP/2 has no key.
            ("sec-websocket-key", "bm9uZQ=="),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let response = client.send(request).await;
        let fields = response.headers();
        assert_eq!(
            (response.status(), response.version()),
            (200.try_into().unwrap(), Version::HTTP_2)
        );
        assert_eq!(
            (&fields["sec-websocket-protocol"], &fields["set-cookie"]),
            (&"chat".parse().unwrap(), &"a=1".parse().unwrap())
        );
        for gone in [
            "sec-websocket-accept",
            "upgrade",
            "connection",
            "content-length",
        ] {
            assert!(!fields.contains_key(gone), "{gone}");
        }
        let head = heads.recv().await.unwrap();
        let lower = head.to_lowercase();
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
        for line in [
            "upgrade: websocket",
            "connection: upgrade",
            "origin: https://a",
            "sec-websocket-version: 13",
            "sec-websocket-protocol: chat",
            "sec-websocket-extensions: permessage-deflate",
        ] {
            assert_eq!(
                lower.matches(&format!("\r\n{line}\r\n")).count(),
                1,
                "{line}: {head}"
            );
        }
        assert_eq!(lower.matches("sec-websocket-key:").count(), 1, "{head}");
        assert!(
            !lower.contains("bm9uzq==") && !lower.contains(":protocol"),
            "{head}"
        );
    })
    .await;
}

/// What does not agree to the handshake of a client over HTTP/2 is a 502: such a client takes any 2xx for a tunnel.
#[tokio::test]
async fn what_does_not_agree_opens_no_tunnel() {
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned();
    let empty = "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
    let other = agree(&accept("a")).replace("websocket", "other");
    let none =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            .to_owned();
    for response in [plain, empty, agree("wrong"), other, none] {
        within(async {
            let (server, _requests) = server::canned(response.clone()).await;
            let proxy = proxy::to(&server.url()).await;
            let mut client = Client::connect(Http::Two, proxy.address).await;
            let refused = client.send(connect("websocket")).await;
            assert_eq!(refused.status(), 502, "{response}");
        })
        .await;
    }
}

/// Check 35: what the endpoint refuses comes through, and the connection goes on.
#[tokio::test]
async fn refusals_are_relayed() {
    for up in [Http::One, Http::Two] {
        within(async {
            let app = Router::new().route(
                "/chat",
                any(|| async { (axum::http::StatusCode::FORBIDDEN, "no") }),
            );
            let server = server::app(app).await;
            let proxy = proxy::to(&server.url_for(up)).await;
            let mut client = Client::connect(Http::Two, proxy.address).await;
            for _ in 0..3 {
                let refused = client.send(connect("websocket")).await;
                assert_eq!(refused.status(), 403);
                assert_eq!(crate::support::client::text(refused).await, "no");
            }
        })
        .await;
    }
}

/// RFC 9220 3, which says it of HTTP/3: a protocol that is not supported is a 501. CONNECT itself stays a 405.
#[tokio::test]
async fn other_connects_are_refused() {
    within(async {
        let (server, mut requests) = server::canned(proxy::OK).await;
        let proxy = proxy::to(&server.url()).await;
        let without = ReverseProxy::to(&server.url()).unwrap().upgrades(["tcp"]);
        let without = proxy::serve(without).await;
        for (protocol, proxy, status) in [
            ("connect-udp", &proxy, 501),
            ("webtransport", &proxy, 501),
            ("websocket", &without, 501),
            // One without a form over HTTP/1.1, although its token is allowed.
            ("tcp", &without, 501),
        ] {
            let mut client = Client::connect(Http::Two, proxy.address).await;
            let refused = client.send(connect(protocol)).await;
            assert_eq!(refused.status(), status, "{protocol}");
        }
        let mut client = Client::connect(Http::Two, proxy.address).await;
        let plain = Request::connect("/").body(Body::empty()).unwrap();
        assert_eq!(client.send(plain).await.status(), 405);
        assert!(requests.try_recv().is_err());
    })
    .await;
}

/// A hook sees the handshake in the form of HTTP/1.1, and the response as the client gets it.
#[tokio::test]
async fn hooks_see_one_form() {
    within(async {
        let server = server::app(echo()).await;
        let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let tell = told.clone();
        let proxy = ReverseProxy::to(&server.url())
            .unwrap()
            .rewrite_request(move |head| {
                tell.send(format!("{} {:?}", head.method, head.headers["upgrade"]))
                    .unwrap();
            })
            .rewrite_response(move |head| told.send(head.status.to_string()).unwrap());
        let proxy = proxy::serve(proxy).await;
        let _socket = open(Http::Two, proxy.address).await;
        assert_eq!(seen.recv().await.unwrap(), "GET \"websocket\"");
        assert_eq!(seen.recv().await.unwrap(), "200 OK");
    })
    .await;
}

/// A hook that answers a handshake over HTTP/2 with a 2xx would open a tunnel to nowhere.
#[tokio::test]
async fn a_hook_opens_no_tunnel() {
    within(async {
        let (server, _requests) = server::canned(proxy::OK).await;
        let proxy = ReverseProxy::to(&server.url()).unwrap();
        let proxy = proxy.try_rewrite_request(|head| match head.headers.contains_key("x-refuse") {
            true => Err(axum::http::StatusCode::FORBIDDEN),
            false => Err(axum::http::StatusCode::OK),
        });
        let proxy = proxy::serve(proxy).await;
        let mut client = Client::connect(Http::Two, proxy.address).await;
        assert_eq!(client.send(connect("websocket")).await.status(), 500);
        let mut request = connect("websocket");
        request
            .headers_mut()
            .insert("x-refuse", "1".parse().unwrap());
        assert_eq!(client.send(request).await.status(), 403);
    })
    .await;
}

/// An endpoint over TLS that offers WebSockets over HTTP/2 gets them there, on the connection that requests use; one
/// that does not gets them over HTTP/1.1.
#[tokio::test]
async fn an_endpoint_over_tls_is_asked_in_the_way_that_it_offers() {
    let versions = Router::new().route(
        "/chat",
        any(|request: axum::extract::Request| async move {
            let upgrade =
                request.method() == Method::CONNECT || request.headers().contains_key("upgrade");
            (
                axum::http::StatusCode::FORBIDDEN,
                format!("{:?} {upgrade}", request.version()),
            )
        }),
    );
    for (offers, alpn, expected) in [
        (true, &["h2", "http/1.1"][..], "HTTP/2.0 true"),
        (true, &["h2"], "HTTP/2.0 true"),
        (true, &["http/1.1"], "HTTP/1.1 true"),
        (false, &["h2", "http/1.1"], "HTTP/1.1 true"),
    ] {
        within(async {
            let authority = tls::Authority::new();
            let identity = authority.issue(&["localhost"], |_| {});
            let server = tls::app_offering(offers, versions.clone(), identity.server(), alpn).await;
            let client = UpstreamClient::builder().tls(authority.client());
            let client = client.build(&format!("https://localhost:{}", server.address.port())).unwrap();
            let proxy = proxy::serve(ReverseProxy::new(client)).await;
            for down in [Http::One, Http::Two] {
                let text = match down {
                    Http::One => {
                        let mut client = Conn::connect(proxy.address).await;
                        client.send("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").await;
                        client.response().await.unwrap().text()
                    }
                    Http::Two => {
                        let mut client = Client::connect(down, proxy.address).await;
                        crate::support::client::text(client.send(connect("websocket")).await).await
                    }
                };
                assert_eq!(text, expected, "{offers} {alpn:?} {down:?}");
            }
        })
        .await;
    }
}

/// An endpoint of HTTP/2 by prior knowledge that offers WebSockets, whose streams the test answers.
fn endpoint(client: axum_upstream::upstream::ClientBuilder) -> (UpstreamClient, h2::Endpoint) {
    h2::endpoint(client, |server| {
        server.enable_connect_protocol();
    })
}

/// A handshake of HTTP/1.1, with the key of RFC 6455 1.3.
fn handshake() -> Request<Body> {
    Request::get("/chat")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Body::empty())
        .unwrap()
}

/// RFC 8441 4 and 5: what an endpoint of HTTP/2 is asked, and what becomes of its answer.
#[tokio::test(start_paused = true)]
async fn the_handshake_is_translated_for_an_http2_endpoint() {
    let (client, mut endpoint) = endpoint(UpstreamClient::builder());
    let send = tokio::spawn(client.oneshot(handshake()));
    let mut asked = endpoint.next().await;
    let (method, uri, headers) = (
        asked.request.method(),
        asked.request.uri(),
        asked.request.headers(),
    );
    assert_eq!(
        (method, uri.to_string()),
        (&Method::CONNECT, "http://endpoint/chat".into())
    );
    assert_eq!(
        asked
            .request
            .extensions()
            .get::<::h2::ext::Protocol>()
            .unwrap()
            .as_str(),
        "websocket"
    );
    assert_eq!(headers["sec-websocket-version"], "13");
    assert!(!headers.contains_key("sec-websocket-key") && !headers.contains_key("upgrade"));
    let mut down = asked.start();
    let mut response = send.await.unwrap().unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(
        response.headers()["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    let mut tunnel = upgrade(&mut response).unwrap().await.unwrap();
    drop(response);
    down.send_data("hello".into(), true).unwrap();
    let mut all = Vec::new();
    tunnel.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"hello");
    tunnel.write_all(b"bye").await.unwrap();
    tunnel.shutdown().await.unwrap();
    assert_eq!(h2::read(asked.request.body_mut()).await, Ok(3));
}

/// A handshake that was refused unprocessed is sent again, in the form that it had.
#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_asked_again() {
    let (client, mut endpoint) = endpoint(UpstreamClient::builder());
    let send = tokio::spawn(client.oneshot(handshake()));
    let mut asked = endpoint.next().await;
    asked.respond.send_reset(::h2::Reason::REFUSED_STREAM);
    let mut asked = endpoint.next().await;
    assert_eq!(asked.request.method(), Method::CONNECT);
    let _down = asked.start();
    let response = send.await.unwrap().unwrap();
    assert_eq!(
        response.headers()["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}

/// How a tunnel ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// On both sides.
    Orderly,
    /// By a reset of the endpoint.
    Reset,
    /// By a drop here.
    Dropped,
}

/// A tunnel holds its connection. It counts as reset from here if it is dropped, and not if both sides have ended it or
/// the endpoint has reset it.
#[tokio::test(start_paused = true)]
async fn tunnels_hold_their_connection() {
    let idle = Duration::from_secs(1);
    let (client, mut endpoint) = endpoint(UpstreamClient::builder().pool_idle_timeout(idle));
    // More than may be reset on a connection in thirty seconds, see `http2/shared.rs`.
    for (ends, connections) in [(Ends::Orderly, 1), (Ends::Reset, 1), (Ends::Dropped, 2)] {
        for _ in 0..60 {
            let send = tokio::spawn(client.clone().oneshot(handshake()));
            let mut asked = endpoint.next().await;
            let mut down = asked.start();
            let mut response = send.await.unwrap().unwrap();
            let mut tunnel = upgrade(&mut response).unwrap().await.unwrap();
            drop(response);
            match ends {
                Ends::Orderly => {
                    down.send_data("".into(), true).unwrap();
                    tunnel.shutdown().await.unwrap();
                    assert_eq!(tunnel.read(&mut [0]).await.unwrap(), 0);
                    assert_eq!(h2::read(asked.request.body_mut()).await, Ok(0));
                }
                Ends::Reset => {
                    down.send_reset(::h2::Reason::INTERNAL_ERROR);
                    assert!(tunnel.read(&mut [0]).await.is_err());
                }
                Ends::Dropped => {}
            }
        }
        assert_eq!(endpoint.made(), connections, "{ends:?}");
    }
    let send = tokio::spawn(client.clone().oneshot(handshake()));
    let mut asked = endpoint.next().await;
    let mut down = asked.start();
    let mut tunnel = upgrade(&mut send.await.unwrap().unwrap())
        .unwrap()
        .await
        .unwrap();
    tokio::time::sleep(100 * idle).await;
    let open = endpoint.made() - endpoint.closed();
    assert_eq!(open, 1);
    down.send_data("a".into(), false).unwrap();
    assert_eq!(tunnel.read_u8().await.unwrap(), b'a');
    drop(tunnel);
    tokio::time::sleep(3 * idle).await;
    assert_eq!(endpoint.closed(), endpoint.made());
}

/// An endpoint that resets an open tunnel ends it.
#[tokio::test(start_paused = true)]
async fn a_reset_ends_the_tunnel() {
    let (client, mut endpoint) = endpoint(UpstreamClient::builder());
    let send = tokio::spawn(client.oneshot(handshake()));
    let mut asked = endpoint.next().await;
    let mut down = asked.start();
    let mut tunnel = upgrade(&mut send.await.unwrap().unwrap())
        .unwrap()
        .await
        .unwrap();
    down.send_reset(::h2::Reason::INTERNAL_ERROR);
    assert!(tunnel.read(&mut [0]).await.is_err());
}

/// A handshake that is dropped before it is answered, and one that is refused, leave the stream reset and the place free.
#[tokio::test(start_paused = true)]
async fn what_opens_no_tunnel_leaves_no_stream() {
    let (client, mut endpoint) = endpoint(UpstreamClient::builder());
    let send = tokio::spawn(client.clone().oneshot(handshake()));
    let mut asked = endpoint.next().await;
    send.abort();
    assert_eq!(
        h2::read(asked.request.body_mut()).await,
        Err(Some(::h2::Reason::CANCEL))
    );
    let send = tokio::spawn(client.clone().oneshot(handshake()));
    let mut asked = endpoint.next().await;
    let mut refused = http::Response::new(());
    *refused.status_mut() = http::StatusCode::FORBIDDEN;
    asked.respond.send_response(refused, true).unwrap();
    assert_eq!(send.await.unwrap().unwrap().status(), 403);
    assert_eq!(
        h2::read(asked.request.body_mut()).await,
        Err(Some(::h2::Reason::CANCEL))
    );
}
