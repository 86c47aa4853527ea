//! Upgrades, tunnels and WebSockets.

use std::time::Duration;

use axum::{
    Router,
    extract::ws::{CloseFrame, Message as WsMessage, WebSocketUpgrade},
    response::IntoResponse,
    routing::any,
};
use axum_upstream::{LoadBalance, ReverseProxy};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tower::ServiceExt;

use crate::support::{Conn, eventually, proxy, server, server::Server, within};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Set-Cookie: a=1\r\nKeep-Alive: 5\r\n\r\n";

/// A server that agrees, sends `greeting` in the same packet, and echoes until its reader ends.
async fn echo(greeting: &'static str) -> Server {
    server::raw(move |mut conn| async move {
        if conn.head().await.is_some() {
            conn.send(format!("{AGREE}{greeting}")).await;
            loop {
                let byte = conn.take(1).await;
                if byte.is_empty() {
                    break;
                }
                conn.send(byte).await;
            }
            conn.send("bye").await;
        }
    })
    .await
}

async fn tunnel(proxy: &Server) -> Conn {
    let mut client = Conn::connect(proxy.address).await;
    client.send(ASK).await;
    let head = client.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    client
}

/// Checks 5, 36, 37 and 38: bytes that come with the 101 and before it arrive, in order; the head is stripped but for
/// what switches.
#[tokio::test]
async fn early_bytes_of_both_sides_arrive() {
    within(async {
        let server = echo("hello").await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Conn::connect(proxy.address).await;
        client.send(format!("{ASK}early")).await;
        let head = client.head().await.unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(
            head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"),
            "{head}"
        );
        assert!(
            head.contains("set-cookie: a=1") && !head.contains("keep-alive"),
            "{head}"
        );
        assert_eq!(client.take(10).await, b"helloearly");
    })
    .await;
}

/// Check 39: one half closes, the other goes on.
#[tokio::test]
async fn half_closing_closes_half() {
    within(async {
        let server = echo("").await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = tunnel(&proxy).await;
        client.send("abc").await;
        client.finish().await;
        assert_eq!(client.rest().await, b"abcbye");
    })
    .await;
}

/// Checks 40 and 67: a client that aborts ends the tunnel, which was load until then.
#[tokio::test]
async fn an_aborted_client_ends_the_tunnel() {
    within(async {
        let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let ended = ended.clone();
            async move {
                conn.head().await;
                conn.send(AGREE).await;
                conn.rest().await;
                let _ = ended.send(());
            }
        })
        .await;
        let balance = LoadBalance::new([server.url()]).unwrap();
        let handle = balance.handle();
        let proxy = proxy::serve(ReverseProxy::new(balance)).await;
        let client = tunnel(&proxy).await;
        assert_eq!(handle.endpoints()[0].in_flight, 1);
        client.abort();
        ends.recv().await.unwrap();
        eventually(|| handle.endpoints()[0].in_flight == 0).await;
    })
    .await;
}

/// Check 41: no total deadline, but an idle one.
#[tokio::test]
async fn a_tunnel_ends_by_idling_only() {
    let server = echo("").await;
    let settings = ReverseProxy::to(&server.url())
        .unwrap()
        .total_timeout(Duration::from_secs(2));
    let proxy = proxy::serve(settings.idle_timeout(Duration::from_secs(5))).await;
    let mut client = tunnel(&proxy).await;
    // From here on the clock moves by hand, or to the next timer when nothing else can happen.
    tokio::time::pause();
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(3)).await;
        client.send("a").await;
        assert_eq!(client.take(1).await, b"a");
    }
    client.closed().await;
}

/// Checks 31 and 35: what the endpoint refuses comes through as it is, and nothing is tunnelled.
#[tokio::test]
async fn refusals_are_relayed() {
    for status in ["200 OK", "401 Unauthorized", "403 Forbidden", "500 Oops"] {
        within(async {
            let response =
                format!("HTTP/1.1 {status}\r\nX-Why: because\r\nContent-Length: 2\r\n\r\nno");
            let (server, mut requests) = server::canned(response).await;
            let proxy = proxy::to(&server.url()).await;
            let mut client = Conn::connect(proxy.address).await;
            client
                .send(format!("{ASK}GET /next HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            let response = client.response().await.unwrap();
            assert!(
                response.start_line().contains(&status[..3]),
                "{}",
                response.head
            );
            assert_eq!(
                (response.field("x-why"), response.text()),
                (Some("because"), "no".into())
            );
            // The bytes after it were the next request, if they were anything.
            drop(client.response().await);
            assert!(requests.recv().await.unwrap().has("upgrade"));
            if let Ok(next) = requests.try_recv() {
                assert_eq!(next.start_line(), "GET /next HTTP/1.1");
            }
        })
        .await;
    }
}

/// Check 35, RFC 9110 15.5.22: a 426 says what it wants.
#[tokio::test]
async fn upgrade_required_says_to_what() {
    let response = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n";
    let proxy = proxy::exchange(proxy::get(""), response).await;
    assert_eq!(
        (proxy.down.status(), proxy.down.field("upgrade")),
        (426, Some("websocket"))
    );
}

/// A request to switch to `tcp` that has a body, as `docker exec` sends one, with the framing and the body.
const WITH_BODY: [(&str, &str); 2] = [
    ("Content-Length: 5", "hello"),
    ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
];

fn ask_with_body(framing: &str) -> String {
    format!(
        "POST /exec HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n{framing}\r\n\r\n"
    )
}

const AGREE_TCP: &str =
    "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nwelcome";

/// When the endpoint agrees.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Agrees {
    /// As soon as it has the head.
    Early,
    /// When it has read the body.
    Late,
}

/// A server that agrees to speak `tcp`, and answers all that comes after the body in capitals. It tells what the body
/// was, as it came.
async fn exec(agrees: Agrees) -> (Server, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let server = server::raw(move |mut conn| {
        let tell = tell.clone();
        async move {
            let Some(head) = conn.head().await else {
                return;
            };
            if agrees == Agrees::Early {
                conn.send(AGREE_TCP).await;
            }
            let chunked = head.contains("transfer-encoding: chunked");
            let (_, body) = WITH_BODY[usize::from(chunked)];
            let body = conn.take(body.len()).await;
            let _ = tell.send(String::from_utf8(body).unwrap());
            if agrees == Agrees::Late {
                conn.send(AGREE_TCP).await;
            }
            loop {
                let byte = conn.take(1).await;
                if byte.is_empty() {
                    break;
                }
                conn.send(byte.to_ascii_uppercase()).await;
            }
        }
    });
    (server.await, told)
}

async fn exec_proxy(server: &Server) -> Server {
    let proxy = ReverseProxy::to(&server.url()).unwrap();
    proxy::serve(proxy.upgrades(["tcp"])).await
}

/// An upgrade whose request has a body goes through, and the tunnel begins where the body ends, to the byte.
#[tokio::test]
async fn an_upgrade_may_have_a_body() {
    for agrees in [Agrees::Early, Agrees::Late] {
        for (framing, body) in WITH_BODY {
            within(async {
                let (server, mut bodies) = exec(agrees).await;
                let proxy = exec_proxy(&server).await;
                let mut client = Conn::connect(proxy.address).await;
                // What looks like another request behind the body is the tunnel's.
                client
                    .send(format!(
                        "{}{body}get / http/1.1\r\n\r\n",
                        ask_with_body(framing)
                    ))
                    .await;
                let head = client.head().await.unwrap();
                assert!(
                    head.starts_with("HTTP/1.1 101"),
                    "{agrees:?}, {framing}: {head}"
                );
                assert_eq!(client.take(25).await, b"welcomeGET / HTTP/1.1\r\n\r\n");
                client.send("more").await;
                assert_eq!(client.take(4).await, b"MORE");
                assert_eq!(bodies.recv().await.unwrap(), body);
                client.finish().await;
                assert!(client.closed().await);
            })
            .await;
        }
    }
}

/// A body that comes after the endpoint has agreed is still the body.
#[tokio::test]
async fn a_body_may_come_after_the_101() {
    for (framing, body) in WITH_BODY {
        within(async {
            let (server, mut bodies) = exec(Agrees::Early).await;
            let proxy = exec_proxy(&server).await;
            let mut client = Conn::connect(proxy.address).await;
            client.send(ask_with_body(framing)).await;
            assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101"));
            let (begin, end) = body.split_at(4);
            client.send(begin).await;
            client.send(format!("{end}raw")).await;
            assert_eq!(client.take(10).await, b"welcomeRAW");
            assert_eq!(bodies.recv().await.unwrap(), body);
        })
        .await;
    }
}

/// What an endpoint refuses stays HTTP: behind the body comes the next request.
#[tokio::test]
async fn a_refused_upgrade_with_a_body_is_a_request() {
    for (framing, body) in WITH_BODY {
        within(async {
            let (server, mut requests) = server::canned(proxy::OK).await;
            let proxy = exec_proxy(&server).await;
            let mut client = Conn::connect(proxy.address).await;
            let next = proxy::get("");
            client
                .send(format!("{}{body}{next}", ask_with_body(framing)))
                .await;
            for _ in 0..2 {
                assert_eq!(client.response().await.unwrap().text(), "ok");
            }
            let first = requests.recv().await.unwrap();
            assert_eq!(
                (first.field("upgrade"), first.text()),
                (Some("tcp"), "hello".into())
            );
            let second = requests.recv().await.unwrap();
            assert_eq!(
                (second.start_line(), second.has("upgrade")),
                ("GET / HTTP/1.1", false)
            );
        })
        .await;
    }
}

/// A token that is not allowed makes a plain request of it.
#[tokio::test]
async fn a_body_and_a_token_that_is_not_allowed_are_a_plain_request() {
    for (framing, body) in WITH_BODY {
        let request = format!("{}{body}", ask_with_body(framing));
        let proxy = proxy::exchange(request, proxy::OK).await;
        assert_eq!(proxy.up().text(), "hello");
        assert!(!proxy.up().has("upgrade") && !proxy.up().has("connection"));
    }
}

/// The endpoint has agreed and the body stands still: the exchange ends when nothing has moved for the idle time.
#[tokio::test]
async fn a_body_that_stalls_behind_a_101_ends_with_the_idle_time() {
    let (server, _bodies) = exec(Agrees::Early).await;
    let balance = LoadBalance::new([server.url()]).unwrap();
    let handle = balance.handle();
    let proxy = ReverseProxy::new(balance).upgrades(["tcp"]);
    let proxy = proxy::serve(proxy.idle_timeout(Duration::from_secs(5))).await;
    let mut client = Conn::connect(proxy.address).await;
    client
        .send(format!("{}he", ask_with_body("Content-Length: 5")))
        .await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101"));
    assert_eq!(handle.endpoints()[0].in_flight, 1);
    // From here on the clock moves to the next timer when nothing else can happen.
    tokio::time::pause();
    client.closed().await;
    assert_eq!(handle.endpoints()[0].in_flight, 0);
}

/// Check 33: tokens that are not allowed are not forwarded; others can be.
#[tokio::test]
async fn only_allowed_tokens_go_up() {
    let ask = |token: &str| {
        proxy::get(&format!(
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {token}\r\n"
        ))
    };
    for token in ["h2c", "TLS/1.0", "h2c, x"] {
        assert!(
            !proxy::exchange(ask(token), proxy::OK)
                .await
                .up()
                .has("upgrade"),
            "{token}"
        );
    }
    assert_eq!(
        proxy::exchange(ask("h2c, websocket"), proxy::OK)
            .await
            .up()
            .field("upgrade"),
        Some("websocket")
    );
    let own = |p: ReverseProxy| p.upgrades(["My-Proto"]);
    assert_eq!(
        proxy::exchange_with(own, ask("my-proto"), proxy::OK)
            .await
            .up()
            .field("upgrade"),
        Some("my-proto")
    );
    assert!(
        !proxy::exchange_with(own, ask("websocket"), proxy::OK)
            .await
            .up()
            .has("upgrade")
    );
    // Without Connection, Upgrade says nothing (RFC 9110 7.8).
    assert!(
        !proxy::exchange(proxy::get("Upgrade: websocket\r\n"), proxy::OK)
            .await
            .up()
            .has("upgrade")
    );
}

/// Check 34.
#[tokio::test]
async fn a_101_nobody_asked_for_is_a_502() {
    assert_eq!(
        proxy::exchange(proxy::get(""), AGREE).await.down.status(),
        502
    );
    let other = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    assert_eq!(proxy::exchange(ASK, other).await.down.status(), 502);
    let none = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    assert_eq!(proxy::exchange(ASK, none).await.down.status(), 502);
}

/// Check 43: nothing is left of many tunnels.
#[tokio::test]
async fn tunnels_leave_nothing_behind() {
    within(async {
        let server = echo("").await;
        let balance = LoadBalance::new([server.url()]).unwrap();
        let handle = balance.handle();
        let proxy = proxy::serve(ReverseProxy::new(balance)).await;
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        let before = tasks();
        for n in 0..1_000 {
            let mut client = tunnel(&proxy).await;
            client.send("x").await;
            assert_eq!(client.take(1).await, b"x");
            if n % 2 == 0 {
                client.finish().await;
                assert_eq!(client.rest().await, b"bye");
            }
        }
        // The tasks hold the sockets, on all three sides: with the ones they go. One reaper stays, with its pool.
        eventually(|| handle.endpoints()[0].in_flight == 0 && tasks() <= before + 1).await;
    })
    .await;
}

/// A proxy that is made for one request, or replaced by another configuration, leaves its tunnels open.
#[tokio::test]
async fn tunnels_outlive_their_proxy() {
    within(async {
        let server = echo("").await;
        let url = server.url();
        let app = tower::service_fn(move |request: axum::extract::Request| {
            ReverseProxy::to(&url).unwrap().oneshot(request)
        });
        let proxy = server::app(Router::new().fallback_service(app)).await;
        let mut client = tunnel(&proxy).await;
        client.send("still there").await;
        assert_eq!(client.take(11).await, b"still there");
        client.finish().await;
        assert_eq!(client.rest().await, b"bye");
    })
    .await;
}

/// `close_tunnels` waits for those that end by themselves, ends the others after its grace, and no later ones.
#[tokio::test]
async fn tunnels_are_closed_on_purpose() {
    within(async {
        let server = echo("").await;
        let shared = ReverseProxy::to(&server.url()).unwrap();
        let proxy = proxy::serve(shared.clone()).await;
        let mut client = tunnel(&proxy).await;
        let ((), closed) = tokio::join!(shared.close_tunnels(Duration::ZERO), client.closed());
        assert!(closed);

        let mut later = tunnel(&proxy).await;
        later.send("open").await;
        assert_eq!(later.take(4).await, b"open");
        let (_, finished) = tokio::join!(shared.close_tunnels(Duration::MAX), async {
            later.finish().await;
            later.rest().await
        });
        assert_eq!(finished, b"bye", "it has all the time it wants");
    })
    .await;
}

async fn websocket_app() -> Server {
    let app = Router::new().route(
        "/ws",
        any(|upgrade: WebSocketUpgrade| async move {
            upgrade
                .protocols(["chat"])
                .on_upgrade(|mut socket| async move {
                    while let Some(Ok(message)) = socket.next().await {
                        match message {
                            WsMessage::Text(text) if text == "close" => {
                                let frame = CloseFrame {
                                    code: 4001,
                                    reason: "as asked".into(),
                                };
                                let _ = socket.send(WsMessage::Close(Some(frame))).await;
                            }
                            WsMessage::Text(_) | WsMessage::Binary(_) => {
                                drop(socket.send(message).await);
                            }
                            _ => {}
                        }
                    }
                })
                .into_response()
        }),
    );
    server::app(app).await
}

/// Check 38: a WebSocket end to end: messages, close code and reason, sub-protocol, large frames.
#[tokio::test]
async fn websockets_work() {
    within(async {
        let server = websocket_app().await;
        let proxy = proxy::balanced([server.url()]).await;
        let request = http::Request::get(format!("ws://{}/ws", proxy.address))
            .header("host", proxy.address.to_string())
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header(
                "sec-websocket-key",
                tokio_tungstenite::tungstenite::handshake::client::generate_key(),
            )
            .header("sec-websocket-protocol", "chat")
            .body(())
            .unwrap();
        let (mut socket, response) = tokio_tungstenite::connect_async(request).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        let large = Message::binary(vec![7; 1 << 20]);
        for message in [Message::text("hello"), large] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        socket.send(Message::text("close")).await.unwrap();
        let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else {
            panic!("no close")
        };
        assert_eq!(
            (u16::from(frame.code), frame.reason.as_str()),
            (4001, "as asked")
        );
    })
    .await;
}

/// Checks 39 and 40: an endpoint that is gone ends the tunnel, however much the client still sends.
#[tokio::test]
async fn a_gone_endpoint_ends_the_tunnel() {
    within(async {
        let server = server::raw(|mut conn| async move {
            conn.head().await;
            conn.send(AGREE).await;
        })
        .await;
        let balance = LoadBalance::new([server.url()]).unwrap();
        let handle = balance.handle();
        let proxy = proxy::serve(ReverseProxy::new(balance)).await;
        let mut client = tunnel(&proxy).await;
        while client.try_send("still here").await {
            tokio::task::yield_now().await;
        }
        eventually(|| handle.endpoints()[0].in_flight == 0).await;
    })
    .await;
}
