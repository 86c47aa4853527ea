//! What is peculiar to HTTP/2, on either side.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ::h2::Reason;
use axum::{Router, extract::Request};
use axum_upstream::{
    Body, ReverseProxy,
    upstream::{self, ClientBody, ClientBuilder},
};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{io::AsyncWriteExt, sync::watch, task::JoinHandle, time::Instant};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::support::{
    Client, Conn, Http, client::text, h2, proxy, proxy::OK, server, tls::Authority, versions,
    within,
};

/// Check 11, RFC 9113 8.2.3.
#[tokio::test]
async fn cookie_crumbs_become_one_line() {
    within(async {
        let (server, mut requests) = server::canned(OK).await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Client::connect(Http::Two, proxy.address).await;
        let request = http::Request::get("/")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        client.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            requests.recv().await.unwrap().field("cookie"),
            Some("a=1; b=2")
        );
    })
    .await;
}

/// Check 6: the connection fields of HTTP/1 do not reach a client of HTTP/2.
#[tokio::test]
async fn connection_fields_end_at_the_version() {
    within(async {
        let response = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\
                        Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let (server, _requests) = server::canned(response).await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Client::connect(Http::Two, proxy.address).await;
        let response = client.get("/").await;
        for name in ["connection", "keep-alive", "transfer-encoding"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
        assert_eq!(text(response).await, "ok");
    })
    .await;
}

/// Check 30, RFC 9113 8.1.1: a body that is not as long as announced is no request.
#[tokio::test]
async fn a_body_of_another_length_is_no_request() {
    for length in ["2", "9"] {
        within(async {
            let (server, mut requests) = server::canned(OK).await;
            let proxy = proxy::to(&server.url()).await;
            let mut client = Client::connect(Http::Two, proxy.address).await;
            let frames = tokio_stream::iter([Ok::<_, std::convert::Infallible>(Frame::data(
                Bytes::from("four"),
            ))]);
            let request = http::Request::post("/").header("content-length", length);
            let sent = client
                .try_send(request.body(Body::new(StreamBody::new(frames))).unwrap())
                .await;
            assert!(
                sent.is_err() || !sent.unwrap().status().is_success(),
                "{length}"
            );
            assert!(requests.try_recv().is_err(), "{length}");
        })
        .await;
    }
}

versions! {
    /// The authority, the scheme and the path are one request's, whatever the versions.
    async fn the_head_crosses_versions(down, up) {
        let app = Router::new().fallback(|request: Request| async move {
            let host = request.headers().get("host").cloned();
            let host = host.map(|host| host.to_str().unwrap().to_owned());
            let authority = request.uri().authority().map(ToString::to_string);
            format!("{} {} {}", request.method(), request.uri().path_and_query().unwrap(), authority.or(host).unwrap())
        });
        let server = server::app(app).await;
        let proxy = proxy::to(&server.url_for(up)).await;
        let mut client = Client::connect(down, proxy.address).await;
        let request = http::Request::put("/a%2Fb?c=d?e").body(Body::empty()).unwrap();
        assert_eq!(text(client.send(request).await).await, format!("PUT /a%2Fb?c=d?e {}", server.address));
    }
}

versions! {
    /// Check 61.
    async fn head_has_a_length_and_no_body(down, up) {
        let app = Router::new().fallback(|| async { "twelve bytes" });
        let server = server::app(app).await;
        let proxy = proxy::to(&server.url_for(up)).await;
        let mut client = Client::connect(down, proxy.address).await;
        for _ in 0..2 {
            let response = client.send(http::Request::head("/").body(Body::empty()).unwrap()).await;
            assert_eq!(response.headers()["content-length"], "12");
            assert_eq!(text(response).await, "");
        }
    }
}

versions! {
    /// Large bodies both ways, many at once.
    async fn large_bodies_arrive_whole(down, up) {
        let app = Router::new().fallback(|request: Request| async { axum::response::Response::new(request.into_body()) });
        let server = server::app(app).await;
        let proxy = proxy::to(&server.url_for(up)).await;
        let all = (0..4u8).map(|n| async move {
            let mut client = Client::connect(down, proxy.address).await;
            let sent: Bytes = (0..3u32 << 20).map(|i| (i as u8).wrapping_mul(n + 1)).collect();
            let response = client.send(http::Request::post("/").body(Body::from(sent.clone())).unwrap()).await;
            let got = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
            assert_eq!(got.len(), sent.len());
            assert!(got == sent, "differ at {:?}", got.iter().zip(&sent).position(|(a, b)| a != b));
        });
        futures_util::future::join_all(all).await;
    }
}

/// Concurrent first requests share one connection; a server that says goodbye gets no more on it.
#[tokio::test]
async fn one_connection_serves_all() {
    within(async {
        let app = Router::new().fallback(|request: Request| async move {
            request
                .extensions()
                .get::<axum::extract::ConnectInfo<std::net::SocketAddr>>()
                .unwrap()
                .0
                .to_string()
        });
        let server = server::app(app).await;
        let proxy = proxy::to(&server.url_for(Http::Two)).await;
        let all = (0..50).map(|_| async {
            let mut client = Conn::connect(proxy.address).await;
            client.send(proxy::get("")).await;
            client.response().await.unwrap().text()
        });
        let peers: std::collections::HashSet<String> = futures_util::future::join_all(all)
            .await
            .into_iter()
            .collect();
        assert_eq!(peers.len(), 1, "{peers:?}");
    })
    .await;
}

/// Check 78, as far as it is ours: streams opened and reset at once leave no load behind.
#[tokio::test]
async fn rapid_resets_leave_nothing_behind() {
    within(async {
        let app = Router::new().fallback(std::future::pending::<String>);
        let server = server::app(app).await;
        let balance = axum_upstream::LoadBalance::new([server.url()]).unwrap();
        let handle = balance.handle();
        let proxy = proxy::serve(ReverseProxy::new(balance)).await;
        for _ in 0..20 {
            let mut client = Client::connect(Http::Two, proxy.address).await;
            for _ in 0..20 {
                let mut get = Box::pin(client.get("/"));
                assert!(futures_util::poll!(&mut get).is_pending());
                drop(get);
                tokio::task::yield_now().await;
            }
            client.abort().await;
        }
        crate::support::eventually(|| handle.endpoints()[0].in_flight == 0).await;
    })
    .await;
}

/// RFC 9113 5.2: flow control is there so that one stream does not hold up the others on its connection. Clients that
/// do not read what they have asked for keep their own stream shut, and nobody else's.
#[tokio::test(start_paused = true)]
async fn unread_downloads_hold_up_nobody() {
    within(async {
        let (client, mut endpoint) = h2::endpoint(ClientBuilder::default(), |_| ());
        let mut unread = Vec::new();
        for _ in 0..20 {
            let (response, mut asked) = ask(&client, &mut endpoint, Body::empty()).await;
            let mut body = asked.start();
            tokio::spawn(async move { h2::pour(&mut body, 16 << 10, usize::MAX).await });
            unread.push(response.await.unwrap());
        }
        h2::settle().await;

        let (response, mut asked) = ask(&client, &mut endpoint, Body::empty()).await;
        asked.start().send_data("neighbour".into(), true).unwrap();
        assert_eq!(whole(response.await.unwrap()).await, "neighbour");
        assert_eq!(endpoint.made(), 1);
    })
    .await;
}

/// Many small frames that are not read, as a client of server-sent events that stands still has them.
#[tokio::test(start_paused = true)]
async fn unread_events_do_not_end_the_connection() {
    within(async {
        let (client, mut endpoint) = h2::endpoint(ClientBuilder::default(), |_| ());
        let (response, mut asked) = ask(&client, &mut endpoint, Body::empty()).await;
        let mut events = asked.start();
        let unread = response.await.unwrap();
        h2::pour(&mut events, 20, 5_000).await;
        h2::settle().await;

        let (response, mut asked) = ask(&client, &mut endpoint, Body::empty()).await;
        asked.start().send_data("neighbour".into(), true).unwrap();
        assert_eq!(whole(response.await.unwrap()).await, "neighbour");
        events.send_data("".into(), true).unwrap();
        assert_eq!(whole(unread).await.len(), 100_000);
        assert_eq!((endpoint.made(), endpoint.closed()), (1, 0));
    })
    .await;
}

/// As many requests share a connection as can stand still on it.
#[tokio::test(start_paused = true)]
async fn a_connection_carries_no_more_than_its_window() {
    within(async {
        let client = ClientBuilder::default().http2_stream_window(1 << 29);
        let (client, mut endpoint) = h2::endpoint(client, |_| ());
        let mut open = Vec::new();
        let mut connections = Vec::new();
        for _ in 0..7 {
            let (answer, asked) = ask(&client, &mut endpoint, Body::empty()).await;
            connections.push(asked.connection);
            open.push((answer, asked));
        }
        assert_eq!(connections, [1, 1, 1, 2, 2, 2, 3]);
    })
    .await;
}

/// Uploads that an endpoint does not read, one of whose streams has no more of the connection than its own window.
#[tokio::test(start_paused = true)]
async fn unread_uploads_hold_up_nobody() {
    within(async {
        let (client, mut endpoint) = h2::endpoint(ClientBuilder::default(), |settings| {
            settings
                .initial_window_size(1 << 16)
                .initial_connection_window_size(1 << 21);
        });
        let mut unread = Vec::new();
        for _ in 0..20 {
            unread.push(ask(&client, &mut endpoint, endless()).await);
        }
        h2::settle().await;

        let (answer, mut asked) =
            ask(&client, &mut endpoint, Body::from("x".repeat(1 << 20))).await;
        assert_eq!(h2::read(asked.request.body_mut()).await, Ok(1 << 20));
        asked.finish();
        assert_eq!(answer.await.unwrap().status(), 200);
        assert_eq!(endpoint.made(), 1);
    })
    .await;
}

/// Most servers give a connection no larger a window than a stream, so that an upload they do not read stops all
/// others: those go over another connection.
#[tokio::test(start_paused = true)]
async fn a_connection_on_which_uploads_stand_still_is_left_to_them() {
    within(async {
        let (client, mut endpoint) = h2::endpoint(ClientBuilder::default(), |_| ());
        let (first, mut unread) = ask(&client, &mut endpoint, endless()).await;
        tokio::time::sleep(Duration::from_secs(2)).await;

        let (answer, mut asked) =
            ask(&client, &mut endpoint, Body::from("x".repeat(1 << 20))).await;
        assert_eq!(h2::read(asked.request.body_mut()).await, Ok(1 << 20));
        asked.finish();
        assert_eq!(answer.await.unwrap().status(), 200);
        assert_eq!((unread.connection, asked.connection), (1, 2));

        // It is as good as another when the upload moves again, or has gone.
        unread.finish();
        drop((first.await.unwrap(), unread));
        h2::settle().await;
        drop(ask(&client, &mut endpoint, Body::empty()).await);
        assert_eq!(endpoint.made(), 2);
    })
    .await;
}

/// A response that nobody waits for takes its upload along, also when the endpoint does not read it.
#[tokio::test(start_paused = true)]
async fn an_upload_ends_with_its_exchange() {
    within(async {
        let (client, mut endpoint) = h2::endpoint(ClientBuilder::default(), |_| ());
        let (answer, mut asked) = ask(&client, &mut endpoint, endless()).await;
        let mut rest = asked.start();
        let response = answer.await.unwrap();
        h2::settle().await;
        drop(response);
        let reset = poll_fn(|cx| rest.poll_reset(cx)).await.unwrap();
        assert_eq!(reset, Reason::CANCEL);
    })
    .await;
}

/// RFC 9113 8.1: a server may answer before it has the whole request. One that reads the rest gets it; one that neither
/// reads nor resets does not hold the upload for ever.
#[tokio::test(start_paused = true)]
async fn an_upload_outlives_its_answer_by_a_while() {
    let longer_than_within = Duration::from_secs(60);
    let test = async {
        let (client, mut endpoint) = h2::endpoint(ClientBuilder::default(), |_| ());
        let (answer, mut asked) =
            ask(&client, &mut endpoint, Body::from("x".repeat(1 << 20))).await;
        asked.finish();
        assert_eq!(whole(answer.await.unwrap()).await, "");
        assert_eq!(h2::read(asked.request.body_mut()).await, Ok(1 << 20));

        let (answer, mut asked) = ask(&client, &mut endpoint, endless()).await;
        asked.finish();
        assert_eq!(whole(answer.await.unwrap()).await, "");
        let answered = Instant::now();
        assert_eq!(
            poll_fn(|cx| asked.respond.poll_reset(cx)).await.unwrap(),
            Reason::CANCEL
        );
        assert_eq!(answered.elapsed().as_secs(), 30);
    };
    tokio::time::timeout(longer_than_within, test)
        .await
        .unwrap();
}

/// The settings of `docs/LIMITS.md` for a server whose clients share connections: uploads that no endpoint reads hold
/// up nobody else on theirs.
#[tokio::test(start_paused = true)]
async fn unread_uploads_of_one_client_hold_up_no_other() {
    within(async {
        let endpoint = tower::service_fn(|request: http::Request<Body>| async move {
            if request.uri().path() == "/stall" {
                std::future::pending::<()>().await;
            }
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, axum_upstream::BoxError>(http::Response::new(Body::from(
                body.len().to_string(),
            )))
        });
        let app = Router::new().fallback_service(ReverseProxy::new(endpoint));
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let mut server = auto::Builder::new(TokioExecutor::new());
        server
            .http2()
            .max_concurrent_streams(256)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(64 * 1024 * 1024);
        tokio::spawn(async move {
            let service = TowerToHyperService::new(app);
            let _ = server.serve_connection(TokioIo::new(theirs), service).await;
        });
        let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = client.handshake(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        let post = |path, body| {
            let request = http::Request::post(format!("http://a{path}"))
                .body(body)
                .unwrap();
            tokio::spawn(sender.clone().send_request(request))
        };
        let stalled: Vec<_> = (0..20).map(|_| post("/stall", endless())).collect();
        h2::settle().await;
        let answer = post("/", Body::from("x".repeat(1 << 20))).await.unwrap();
        assert_eq!(text(answer.unwrap()).await, "1048576");
        assert!(stalled.iter().all(|stalled| !stalled.is_finished()));
    })
    .await;
}

/// Clients that open requests and leave at once, each too few for the server before the proxy to see an attack: the
/// endpoint sees them over one connection, and must not take that for an attack either.
#[tokio::test(start_paused = true)]
async fn requests_that_are_left_at_once_end_no_connection() {
    within(async {
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let (go, going) = watch::channel(false);
        let app = Router::new().fallback(move |request: Request| {
            let mut going = going.clone();
            async move {
                if request.uri().path() == "/neighbour" {
                    drop(going.wait_for(|go| *go).await);
                    return "neighbour";
                }
                std::future::pending().await
            }
        });
        let connector = tower::service_fn(move |_: http::Uri| {
            count.fetch_add(1, SeqCst);
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            tokio::spawn(server::speak(theirs, app.clone()));
            async { Ok::<_, Infallible>(TokioIo::new(ours)) }
        });
        let client = ClientBuilder::default().connector(connector);
        let client = client.build("h2c://endpoint").unwrap();
        let request = http::Request::post("/neighbour")
            .body(Body::empty())
            .unwrap();
        let neighbour = tokio::spawn(client.clone().oneshot(request));
        h2::settle().await;

        let proxy = Router::new().fallback_service(ReverseProxy::new(client));
        let mut attack = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        attack.extend([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]);
        for stream in (1..=31).step_by(2) {
            // GET http://a/, whole; and CANCEL.
            attack.extend([
                0, 0, 6, HEADERS, 5, 0, 0, 0, stream, 0x82, 0x86, 0x84, 0x41, 1, b'a',
            ]);
            attack.extend([0, 0, 4, RST_STREAM, 0, 0, 0, 0, stream, 0, 0, 0, 8]);
        }
        let mut attackers = Vec::new();
        for _ in 0..8 {
            let (mut ours, theirs) = tokio::io::duplex(1 << 16);
            tokio::spawn(server::speak(theirs, proxy.clone()));
            ours.write_all(&attack).await.unwrap();
            attackers.push(ours);
        }
        h2::settle().await;
        tokio::time::sleep(Duration::from_secs(1)).await;

        go.send(true).unwrap();
        let response = neighbour.await.unwrap().expect("the neighbour's request");
        assert_eq!(whole(response).await, "neighbour");
        assert_eq!(connections.load(SeqCst), 1);
    })
    .await;
}

/// Servers close a connection on which too many streams are reset, Netty's at 200 in 30 s: the next requests take
/// another.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_often_reset_is_spared() {
    let longer_than_within = Duration::from_secs(100);
    let test = async {
        let (client, mut endpoint) = h2::endpoint(ClientBuilder::default(), |_| ());
        let mut resets = [0; 10];
        for n in 0..180 {
            // A client that leaves, or one whose upload breaks.
            let body = if n % 2 == 0 { Body::empty() } else { broken() };
            let request = http::Request::post("/").body(body).unwrap();
            let answer = tokio::spawn(client.clone().oneshot(request));
            let asked = endpoint.next().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(answer.is_finished(), n % 2 == 1);
            answer.abort();
            resets[asked.connection] += 1;
        }
        assert_eq!(resets, [0, 50, 50, 50, 30, 0, 0, 0, 0, 0]);
        // They are as good as new after a while.
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(ask(&client, &mut endpoint, Body::empty()).await);
        assert_eq!(endpoint.made(), 4);
    };
    tokio::time::timeout(longer_than_within, test)
        .await
        .unwrap();
}

/// A body that never ends.
fn endless() -> Body {
    let chunk = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[7; 16 << 10])));
    Body::new(StreamBody::new(futures_util::stream::repeat_with(chunk)))
}

/// A body that breaks after its first chunk.
fn broken() -> Body {
    let frames = [Ok(Frame::data(Bytes::from_static(b"x"))), Err("broken")];
    Body::new(StreamBody::new(tokio_stream::iter(frames)))
}

type Answer = JoinHandle<http::Response<ClientBody>>;

/// Sends a request, and waits until the endpoint has it.
async fn ask(
    client: &upstream::Client,
    endpoint: &mut h2::Endpoint,
    body: Body,
) -> (Answer, h2::Asked) {
    let request = http::Request::post("/").body(body).unwrap();
    let sent = client.clone().oneshot(request);
    let answer = tokio::spawn(async move { sent.await.unwrap() });
    (answer, endpoint.next().await)
}

async fn whole(response: http::Response<ClientBody>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Requests that a GOAWAY leaves untouched are sent once more, over one new connection and not over one each.
#[tokio::test]
async fn a_goodbye_to_many_makes_one_new_connection() {
    const REQUESTS: usize = 20;
    within(async {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let server = server::raw(move |mut conn| {
            let connection = count.fetch_add(1, SeqCst) + 1;
            async move {
                if connection > 1 {
                    let mut connected = ::h2::server::handshake(conn.into_stream()).await.unwrap();
                    while let Some(Ok((_, mut respond))) = connected.accept().await {
                        let _ = respond.send_response(http::Response::new(()), true);
                    }
                    return;
                }
                conn.take(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()).await;
                conn.send([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await;
                let mut requests = 0;
                while requests < REQUESTS {
                    let head = conn.take(9).await;
                    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                    conn.take(length as usize).await;
                    requests += usize::from(head[3] == HEADERS);
                }
                // The last stream that was looked at is 0: none.
                conn.send([0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
                    .await;
                conn.closed().await;
            }
        })
        .await;
        let client = upstream::Client::new(&server.url_for(Http::Two)).unwrap();
        let all = (0..REQUESTS).map(|_| {
            let request = http::Request::get("/").body(Body::empty()).unwrap();
            client.clone().oneshot(request)
        });
        for answer in futures_util::future::join_all(all).await {
            assert_eq!(answer.unwrap().status(), 200);
        }
        assert_eq!(made.load(SeqCst), 2);
    })
    .await;
}

/// RFC 9113 7, HTTP_1_1_REQUIRED: "The endpoint requires that HTTP/1.1 be used instead of HTTP/2." Servers say it of
/// single resources, those with Windows authentication for one.
#[tokio::test]
async fn what_needs_http1_goes_over_http1() {
    within(async {
        let authority = Authority::new();
        let mut config = authority.issue(&["localhost"], |_| ()).server();
        config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let app = Router::new().fallback(|request: Request| async move {
            format!("{} {:?}", request.method(), request.version())
        });
        let server = server::Server::accepting(move |stream, _| {
            let (acceptor, app) = (acceptor.clone(), app.clone());
            async move {
                let stream = acceptor.accept(stream).await.unwrap();
                if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return server::speak(stream, app).await;
                }
                let mut connected = ::h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connected.accept().await {
                    if request.uri().path() == "/1" {
                        respond.send_reset(Reason::HTTP_1_1_REQUIRED);
                    } else {
                        let _ = respond.send_response(http::Response::new(()), true);
                    }
                }
            }
        })
        .await;
        let client = upstream::Client::builder().tls(authority.client());
        let client = client.build(&format!("https://localhost:{}", server.address.port()));
        let client = client.unwrap();
        for (path, said) in [("/2", ""), ("/1", "POST HTTP/1.1")] {
            let request = http::Request::post(path).body(Body::empty()).unwrap();
            let response = client.clone().oneshot(request).await.unwrap();
            assert_eq!(whole(response).await, said);
        }
    })
    .await;
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// `Duration::MAX`, and what is about as long, is no pings.
#[tokio::test(start_paused = true)]
async fn an_endless_ping_interval_is_none() {
    for interval in [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::MAX / 2,
    ] {
        within(async {
            let client = ClientBuilder::default().http2_ping_interval(interval);
            let (client, mut endpoint) = h2::endpoint(client, |_| ());
            let (answer, mut asked) = ask(&client, &mut endpoint, Body::empty()).await;
            asked.finish();
            assert_eq!(answer.await.unwrap().status(), 200);
        })
        .await;
    }
}
