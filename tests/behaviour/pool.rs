//! Connections to endpoints: reuse, staleness, limits, and who drives them.

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{
        Request as AxumRequest,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
};
use axum_upstream::{
    Body, LoadBalance, ReverseProxy,
    upstream::{Client, ClientBuilder},
};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::watch;
use tower::{ServiceExt, service_fn};

use crate::support::{
    Conn, Http, eventually,
    proxy::{self, OK},
    server, within,
};

fn get() -> Request<Body> {
    Request::get("/").body(Body::empty()).unwrap()
}

fn post(body: &'static str) -> Request<Body> {
    Request::post("/").body(Body::from(body)).unwrap()
}

async fn send(client: &Client, request: Request<Body>) -> StatusCode {
    let response = client.clone().oneshot(request).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}

/// Counts connections, in all and open now.
#[derive(Clone, Default)]
struct Count {
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct Counted(Count);

impl Count {
    fn enter(&self) -> Counted {
        self.made.fetch_add(1, SeqCst);
        let open = self.open.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(open, SeqCst);
        Counted(self.clone())
    }

    fn made(&self) -> usize {
        self.made.load(SeqCst)
    }

    fn open(&self) -> usize {
        self.open.load(SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

/// A server that answers `per_connection` requests on each connection and then closes it, without a word in the head.
async fn counted(per_connection: usize) -> (server::Server, Count) {
    let count = Count::default();
    let entered = count.clone();
    let server = server::raw(move |mut conn| {
        let counted = entered.enter();
        async move {
            let _counted = counted;
            for _ in 0..per_connection {
                if conn.request().await.is_none() {
                    return;
                }
                conn.send(OK).await;
            }
        }
    });
    (server.await, count)
}

#[tokio::test]
async fn a_connection_is_used_again() {
    within(async {
        let (server, count) = counted(usize::MAX).await;
        let client = Client::new(&server.url()).unwrap();
        for _ in 0..20 {
            assert_eq!(send(&client, get()).await, 200);
            assert_eq!(send(&client, post("abc")).await, 200);
        }
        assert_eq!(count.made(), 1);
        drop(client);
        eventually(|| count.open() == 0).await;
    })
    .await;
}

/// A body that is not read to its end makes its connection useless, and closes it.
#[tokio::test]
async fn a_body_dropped_early_closes_its_connection() {
    within(async {
        let (closed, mut closes) = tokio::sync::mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let closed = closed.clone();
            async move {
                conn.head().await;
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                    .await;
                conn.rest().await;
                let _ = closed.send(());
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        drop(client.clone().oneshot(get()).await.unwrap());
        closes.recv().await.unwrap();
    })
    .await;
}

/// Servers that close after one, two, three requests, without saying so: no request fails, none is sent twice.
#[tokio::test]
async fn servers_that_close_are_no_error() {
    within(async {
        for per_connection in 1..4 {
            let (server, count) = counted(per_connection).await;
            let client = Client::new(&server.url()).unwrap();
            for n in 0..40 {
                assert_eq!(send(&client, get()).await, 200, "{n} of {per_connection}");
                // A close that has been seen costs nothing.
                let open = count.clone();
                if (n + 1) % per_connection == 0 {
                    eventually(move || open.open() == 0).await;
                }
            }
            assert!(count.made() >= 40 / per_connection);
        }
    })
    .await;
}

/// Requests with a body, over connections that close at any moment: each is answered, or fails; none arrives twice.
#[tokio::test]
async fn no_post_arrives_twice() {
    within(async {
        let seen = Arc::new(std::sync::Mutex::new(std::collections::HashMap::<
            String,
            usize,
        >::new()));
        let record = seen.clone();
        let server = server::raw(move |mut conn| {
            let record = record.clone();
            async move {
                for _ in 0..2 {
                    let Some(request) = conn.request().await else {
                        return;
                    };
                    *record.lock().unwrap().entry(request.text()).or_default() += 1;
                    conn.send(OK).await;
                }
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        for n in 0..200 {
            let request = Request::post("/").body(Body::from(n.to_string())).unwrap();
            let sent = client.clone().oneshot(request).await;
            if let Ok(response) = sent {
                response.into_body().collect().await.unwrap();
                assert_eq!(seen.lock().unwrap()[&n.to_string()], 1);
            }
        }
        assert!(seen.lock().unwrap().values().all(|times| *times == 1));
    })
    .await;
}

/// A server that closes what it accepts is an error after one try, not an endless loop.
#[tokio::test]
async fn a_server_that_closes_at_once_is_an_error() {
    within(async {
        let (server, count) = counted(0).await;
        let client = Client::new(&server.url()).unwrap();
        for _ in 0..5 {
            assert!(client.clone().oneshot(get()).await.is_err());
        }
        assert!(count.made() <= 10, "{}", count.made());
    })
    .await;
}

/// What the server closes while it idles is closed here too, with no request to notice it.
#[tokio::test]
async fn a_connection_closed_while_idle_frees_its_socket() {
    within(async {
        let (gone, mut goes) = tokio::sync::mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let gone = gone.clone();
            async move {
                conn.request().await;
                conn.send(OK).await;
                conn.finish().await;
                conn.rest().await;
                let _ = gone.send(());
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        send(&client, get()).await;
        goes.recv().await.unwrap();
        drop(client);
    })
    .await;
}

/// Bytes that nobody asked for make an idle connection useless: they must not become the next response.
#[tokio::test]
async fn unasked_bytes_are_no_response() {
    within(async {
        let (go, went) = watch::channel(());
        let server = server::raw(move |mut conn| {
            let mut went = went.clone();
            async move {
                conn.request().await;
                conn.send(OK).await;
                went.changed().await.unwrap();
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
                    .await;
                conn.rest().await;
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        send(&client, get()).await;
        go.send(()).unwrap();
        tokio::task::yield_now().await;
        if let Ok(response) = client.clone().oneshot(post("x")).await {
            assert_ne!(
                response.into_body().collect().await.unwrap().to_bytes(),
                "evil"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn idle_connections_end_in_time() {
    within(async {
        let (server, count) = counted(usize::MAX).await;
        let client = Client::builder()
            .pool_idle_timeout(Duration::from_millis(30))
            .build(&server.url())
            .unwrap();
        send(&client, get()).await;
        eventually(|| count.open() == 0).await;
        assert_eq!(send(&client, get()).await, 200);

        let none = Client::builder()
            .pool_max_idle(0)
            .build(&server.url())
            .unwrap();
        send(&none, get()).await;
        eventually(|| count.open() <= 1).await;
    })
    .await;
}

#[tokio::test]
async fn connections_have_a_longest_life() {
    within(async {
        let (server, count) = counted(usize::MAX).await;
        let client = Client::builder()
            .max_lifetime(Duration::from_millis(30))
            .build(&server.url())
            .unwrap();
        while count.made() < 3 {
            assert_eq!(send(&client, get()).await, 200);
        }
    })
    .await;
}

/// With a limit, requests take turns; one that waits for too long is an error, and goes elsewhere if it can.
#[tokio::test]
async fn connections_can_be_limited() {
    within(async {
        let (server, count) = counted(usize::MAX).await;
        let client = Client::builder()
            .max_connections(3)
            .build(&server.url())
            .unwrap();
        let all = (0..50).map(|n| {
            let client = client.clone();
            async move { send(&client, if n % 2 == 0 { get() } else { post("x") }).await }
        });
        assert!(
            futures_util::future::join_all(all)
                .await
                .iter()
                .all(|status| *status == 200)
        );
        assert!(count.most.load(SeqCst) <= 3);

        let silent = server::raw(|mut conn| async move { drop(conn.rest().await) }).await;
        let one = Client::builder()
            .max_connections(1)
            .connect_timeout(Duration::from_millis(30));
        let one = one.build(&silent.url()).unwrap();
        let mut first = Box::pin(one.clone().oneshot(get()));
        assert!(futures_util::poll!(&mut first).is_pending());
        let response =
            ReverseProxy::new(one).oneshot(Request::get("http://a/").body(Body::empty()).unwrap());
        assert_eq!(
            response.await.unwrap().status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        drop(first);
    })
    .await;
}

/// 64 MiB each way, the server reading and writing independently, the client reading only when it has sent all: what
/// the client does not read must not hold up what it sends.
#[tokio::test]
async fn an_unread_response_does_not_hold_up_the_upload() {
    const SIZE: usize = 64 << 20;
    within(async {
        let server = server::raw(|mut conn| async move {
            conn.head().await;
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"))
                .await;
            let (mut reads, mut writes) = conn.split();
            let chunk = vec![7; 1 << 16];
            let write = async {
                for _ in 0..SIZE / chunk.len() {
                    writes.send(&chunk).await;
                }
            };
            tokio::join!(write, async { assert_eq!(reads.count(SIZE).await, SIZE) });
        })
        .await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Conn::connect(proxy.address).await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"
            ))
            .await;
        let chunk = vec![7; 1 << 16];
        for _ in 0..SIZE / chunk.len() {
            client.send(&chunk).await;
        }
        assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
        let (mut reads, _writes) = client.split();
        assert_eq!(reads.count(SIZE).await, SIZE);
    })
    .await;
}

/// The other way round: a server that reads nothing until it has sent all.
#[tokio::test]
async fn an_unread_request_does_not_hold_up_the_response() {
    const SIZE: usize = 64 << 20;
    within(async {
        let server = server::raw(|mut conn| async move {
            conn.head().await;
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"))
                .await;
            let chunk = vec![7; 1 << 16];
            for _ in 0..SIZE / chunk.len() {
                conn.send(&chunk).await;
            }
            let (mut reads, _writes) = conn.split();
            assert_eq!(reads.count(SIZE).await, SIZE);
        })
        .await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Conn::connect(proxy.address).await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"
            ))
            .await;
        let (mut reads, mut writes) = client.split();
        let chunk = vec![7; 1 << 16];
        let write = async {
            for _ in 0..SIZE / chunk.len() {
                writes.send(&chunk).await;
            }
        };
        let read = async {
            assert!(reads.head().await.unwrap().starts_with("HTTP/1.1 200"));
            assert_eq!(reads.count(SIZE).await, SIZE);
        };
        tokio::join!(write, read);
    })
    .await;
}

/// An HTTP/2 server that allows this many streams on a connection, and says goodbye after `goodbye` requests.
async fn http2(streams: u32, goodbye: usize, app: Router) -> (server::Server, Count) {
    let count = Count::default();
    let entered = count.clone();
    let server = server::raw(move |conn| {
        let (counted, app) = (entered.enter(), app.clone());
        async move {
            let _counted = counted;
            let served = Arc::new(AtomicUsize::new(0));
            let (over, mut is_over) = watch::channel(());
            let service = hyper::service::service_fn(move |request| {
                if served.fetch_add(1, SeqCst) + 1 == goodbye {
                    over.send_replace(());
                }
                app.clone().oneshot(request)
            });
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(streams);
            let mut connection =
                std::pin::pin!(builder.serve_connection(TokioIo::new(conn.into_stream()), service));
            tokio::select! {
                _ = &mut connection => {}
                Ok(()) = is_over.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        }
    });
    (server.await, count)
}

/// Each connection carries as many requests as its server allows; for more there are more.
#[tokio::test]
async fn full_http2_connections_get_company() {
    within(async {
        let (go, went) = watch::channel(false);
        let app = Router::new().fallback(move || {
            let mut went = went.clone();
            async move { drop(went.wait_for(|went| *went).await) }
        });
        let (server, count) = http2(10, usize::MAX, app).await;
        let client = Client::new(&server.url_for(Http::Two)).unwrap();
        let all = (0..35).map(|_| send(&client, get()));
        let release = async {
            eventually(|| count.made() == 4).await;
            go.send(true).unwrap();
        };
        let (statuses, ()) = tokio::join!(futures_util::future::join_all(all), release);
        assert!(statuses.iter().all(|status| *status == 200));
        assert_eq!(count.made(), 4);
        // With room again, all go on what is there.
        futures_util::future::join_all((0..35).map(|_| send(&client, get()))).await;
        assert_eq!(count.made(), 4);
        drop(client);
        eventually(|| count.open() == 0).await;
    })
    .await;
}

/// Check 79: GOAWAY is no error, and what it leaves idle is not used again.
#[tokio::test]
async fn goodbyes_are_no_error() {
    within(async {
        let app = Router::new().fallback(|request: AxumRequest| async { request.into_body() });
        let (server, count) = http2(100, 5, app).await;
        let client = Client::new(&server.url_for(Http::Two)).unwrap();
        for _ in 0..60 {
            assert_eq!(send(&client, get()).await, 200);
        }
        assert!(count.made() >= 60 / 6, "{}", count.made());
    })
    .await;
}

/// Check 79, RFC 9113 8.7: a refused stream is sent again, whatever its method, when there is a body to send again.
#[tokio::test]
async fn a_refused_stream_is_sent_again() {
    within(async {
        let server = server::raw(|conn| async move {
            let mut connection = h2::server::handshake(conn.into_stream()).await.unwrap();
            let mut refuse = true;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if std::mem::replace(&mut refuse, false) {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else {
                    assert_eq!(request.uri().path(), "/x");
                    let _ = respond.send_response(http::Response::new(()), true);
                }
            }
        })
        .await;
        let client = Client::new(&server.url_for(Http::Two)).unwrap();
        let request = Request::post("/x").body(Body::empty()).unwrap();
        assert_eq!(send(&client, request).await, 200);
    })
    .await;
}

/// A server that always refuses is an error.
#[tokio::test]
async fn refusals_have_an_end() {
    within(async {
        let server = server::raw(|conn| async move {
            let mut connection = h2::server::handshake(conn.into_stream()).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            }
        })
        .await;
        let client = Client::new(&server.url_for(Http::Two)).unwrap();
        assert!(client.clone().oneshot(get()).await.is_err());
    })
    .await;
}

/// Pings notice a server that no longer answers anything.
#[tokio::test]
async fn pings_notice_a_silent_server() {
    within(async {
        let server = server::raw(|conn| async move {
            let mut connection = h2::server::handshake(conn.into_stream()).await.unwrap();
            let accepted = connection.accept().await;
            pending::<()>().await;
            drop((accepted, connection));
        })
        .await;
        let client = Client::builder().http2_ping_interval(Duration::from_millis(30));
        let client = client.build(&server.url_for(Http::Two)).unwrap();
        assert!(client.clone().oneshot(get()).await.is_err());
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_are_endpoints() {
    within(async {
        let path = std::env::temp_dir().join(format!("axum-upstream-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let app = Router::new().fallback(|request: AxumRequest| async move {
            format!("{} {:?}", request.uri(), request.headers()["host"])
        });
        let served = tokio::spawn(async move { axum::serve(listener, app).await });
        let url = format!("unix:{}", path.display());
        let proxy = proxy::balanced([&url]).await;
        let mut client = Conn::connect(proxy.address).await;
        for _ in 0..2 {
            client.send("GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(
                client.response().await.unwrap().text(),
                "/a?b \"localhost\""
            );
        }
        served.abort();
        let _ = std::fs::remove_file(&path);
        let gone = Client::new(&url).unwrap().oneshot(get()).await;
        assert!(gone.is_err());
        assert!(Client::new("unix:run/app.sock").unwrap_err().is_config());
    })
    .await;
}

/// A connector of one's own: it is asked for the endpoint's address, and its streams are pooled like any.
#[tokio::test]
async fn connectors_can_be_ones_own() {
    within(async {
        let (server, count) = counted(usize::MAX).await;
        let address = server.address;
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let record = asked.clone();
        let connector = service_fn(move |uri: http::Uri| {
            record.lock().unwrap().push(uri.to_string());
            async move {
                tokio::net::TcpStream::connect(address)
                    .await
                    .map(TokioIo::new)
            }
        });
        let client = Client::builder()
            .connector(connector)
            .build("http://far.away.test:81/base")
            .unwrap();
        for _ in 0..3 {
            assert_eq!(send(&client, get()).await, 200);
        }
        assert_eq!(*asked.lock().unwrap(), ["http://far.away.test:81/"]);
        assert_eq!(count.made(), 1);
    })
    .await;
}

fn on_a_runtime_of_its_own<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(work)
    })
}

/// A runtime per core, all over one client: each has connections of its own, and none outlives its runtime.
#[tokio::test]
async fn runtimes_share_no_connection() {
    for http in [Http::One, Http::Two] {
        let app = Router::new().fallback(|| async { "ok" });
        let server = server::app(app).await;
        let client = Client::new(&server.url_for(http)).unwrap();
        for _ in 0..3 {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let client = client.clone();
                    on_a_runtime_of_its_own(within(async move {
                        for _ in 0..20 {
                            assert_eq!(send(&client, get()).await, 200);
                        }
                    }))
                })
                .collect();
            let joined = tokio::task::spawn_blocking(|| {
                threads
                    .into_iter()
                    .for_each(|thread| thread.join().unwrap())
            });
            joined.await.unwrap();
            assert_eq!(within(send(&client, get())).await, 200);
        }
    }
}

/// What a removed endpoint kept idle closes with it, while the rest go on.
#[tokio::test]
async fn a_removed_endpoint_closes_its_connections() {
    within(async {
        let (server, count) = counted(usize::MAX).await;
        let (other, _) = counted(usize::MAX).await;
        let balance = LoadBalance::builder()
            .seed(1)
            .urls([server.url(), other.url()])
            .unwrap();
        for _ in 0..4 {
            balance
                .clone()
                .oneshot(get())
                .await
                .unwrap()
                .into_body()
                .collect()
                .await
                .unwrap();
        }
        assert!(count.open() > 0);
        balance
            .handle()
            .remove(&server.url())
            .unwrap()
            .finished()
            .await;
        eventually(|| count.open() == 0).await;
    })
    .await;
}

/// Requests cancelled at random points leave no task.
#[tokio::test]
async fn nothing_is_left_behind() {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    for http in [Http::One, Http::Two] {
        let (go, went) = watch::channel(());
        let app = Router::new().fallback(move |request: AxumRequest| {
            let mut went = went.clone();
            async move {
                if request.uri().path() == "/wait" {
                    let _ = went.changed().await;
                }
                let frames = (0..4).map(|_| Ok::<_, Infallible>(Bytes::from_static(&[0; 512])));
                axum::body::Body::from_stream(tokio_stream::iter(frames))
            }
        });
        let server = server::app(app).await;
        let before = tasks();
        let client = ClientBuilder::default()
            .build(&server.url_for(http))
            .unwrap();
        let mut random = fastrand::Rng::with_seed(3);
        for n in 0..10_000 {
            let path = if n % 7 == 0 { "/wait" } else { "/" };
            let request = Request::get(path).body(Body::empty()).unwrap();
            let exchange = async {
                let response = client.clone().oneshot(request).await.unwrap();
                response.into_body().collect().await.unwrap();
            };
            let mut exchange = Box::pin(exchange);
            for _ in 0..random.usize(..10) {
                if futures_util::poll!(&mut exchange).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        drop(client);
        drop(go);
        within(async {
            while tasks() > before {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A server that closes at the very moment the next request goes out: whatever the order of events, each is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_at_the_worst_moment_is_no_error() {
    within(async {
        let server = server::raw(|mut conn| async move {
            if conn.request().await.is_some() {
                conn.send(OK).await;
                // Between nothing and some tens of microseconds, as the scheduler has it.
                for _ in 0..fastrand::u8(..64) {
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        let proxy = ReverseProxy::new(client).response_timeout(Duration::from_secs(5));
        for _ in 0..3_000 {
            let request = Request::get("http://a/").body(Body::empty()).unwrap();
            let response = proxy.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap();
        }
    })
    .await;
}

/// hyper answers in kind to a server of HTTP/1.0, which cannot be told that a body is chunked.
#[tokio::test]
async fn connections_of_http_1_0_are_not_used_again() {
    within(async {
        let response = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok";
        let (server, mut requests) = server::canned(response).await;
        let client = Client::new(&server.url()).unwrap();
        for _ in 0..3 {
            assert_eq!(send(&client, get()).await, 200);
            let frames = tokio_stream::iter([Ok::<_, Infallible>(http_body::Frame::data(
                Bytes::from("hello"),
            ))]);
            let body = Body::new(http_body_util::StreamBody::new(frames));
            assert_eq!(
                send(&client, Request::post("/").body(body).unwrap()).await,
                200
            );
            requests.recv().await.unwrap();
            assert_eq!(requests.recv().await.unwrap().text(), "hello");
        }
    })
    .await;
}

/// Check 62: a length that is not the body's would swallow the next request.
#[tokio::test]
async fn the_length_is_the_bodys() {
    within(async {
        let (server, mut requests) = server::canned(OK).await;
        let client = Client::new(&server.url()).unwrap();
        for (said, body) in [("50", ""), ("2", "hello"), ("9", "hello")] {
            let request = Request::post("/")
                .header("content-length", said)
                .body(Body::from(body))
                .unwrap();
            assert_eq!(send(&client, request).await, 200);
            let seen = requests.recv().await.unwrap();
            assert_eq!(
                (seen.field("content-length"), seen.text().as_str()),
                (Some(body.len().to_string().as_str()), body)
            );
        }
    })
    .await;
}

/// Many first requests over TLS to an endpoint of HTTP/1.1 shake hands side by side.
#[tokio::test]
async fn first_handshakes_do_not_wait_for_each_other() {
    within(async {
        let authority = crate::support::tls::Authority::new();
        let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
        let (go, went) = watch::channel(false);
        let app = Router::new().fallback(move || {
            let (arrived, mut went) = (arrived.clone(), went.clone());
            async move {
                let _ = arrived.send(());
                drop(went.wait_for(|went| *went).await);
            }
        });
        let identity = authority.issue(&["localhost"], |_| ());
        let server = crate::support::tls::app(app, identity.server(), &["http/1.1"]).await;
        let url = format!("https://localhost:{}", server.address.port());
        let client = Client::builder()
            .tls(authority.client())
            .build(&url)
            .unwrap();
        let all = (0..20).map(|_| send(&client, get()));
        let release = async {
            // All twenty are there at once, though none is answered.
            for _ in 0..20 {
                arrivals.recv().await.unwrap();
            }
            go.send(true).unwrap();
        };
        let (statuses, ()) = tokio::join!(futures_util::future::join_all(all), release);
        assert!(statuses.iter().all(|status| *status == 200));
    })
    .await;
}

/// An answer that comes before the upload has been flushed must not cut it off.
#[tokio::test]
async fn an_early_empty_answer_lets_the_upload_finish() {
    const SIZE: usize = 8 << 20;
    within(async {
        let (counted, mut counts) = tokio::sync::mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let counted = counted.clone();
            async move {
                conn.head().await;
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await;
                let (mut reads, _writes) = conn.split();
                let _ = counted.send(reads.count(SIZE).await);
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        assert_eq!(
            send(
                &client,
                Request::post("/")
                    .body(Body::from(Bytes::from(vec![7; SIZE])))
                    .unwrap()
            )
            .await,
            200
        );
        assert_eq!(counts.recv().await, Some(SIZE));
    })
    .await;
}

/// A limit counts tunnels too, and what idles where it is of no use gives way.
#[tokio::test]
async fn a_limit_is_on_sockets() {
    within(async {
        let app = Router::new().route(
            "/",
            axum::routing::any(
                |upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>| async {
                    match upgrade {
                        Ok(upgrade) => upgrade
                            .on_upgrade(|mut socket| async move { drop(socket.recv().await) }),
                        Err(_) => axum::response::IntoResponse::into_response("ok"),
                    }
                },
            ),
        );
        let server = server::app(app).await;
        let client = Client::builder()
            .max_connections(1)
            .connect_timeout(Duration::from_millis(50));
        let client = client.build(&server.url()).unwrap();
        let proxy = proxy::serve(ReverseProxy::new(client.clone())).await;
        let socket = tokio_tungstenite::connect_async(format!("ws://{}/", proxy.address))
            .await
            .unwrap();
        assert!(
            client.clone().oneshot(get()).await.is_err(),
            "the tunnel has the only place"
        );
        drop(socket);
        while client.clone().oneshot(get()).await.is_err() {}

        // Another runtime's idle connection gives way.
        let other = client.clone();
        let thread = on_a_runtime_of_its_own(within(async move { send(&other, get()).await }));
        assert_eq!(
            tokio::task::spawn_blocking(|| thread.join().unwrap())
                .await
                .unwrap(),
            200
        );
    })
    .await;
}

/// `Duration::MAX` is what users write for "no limit", zero for "none at all".
#[tokio::test]
async fn extreme_times_are_times() {
    within(async {
        let (server, count) = counted(usize::MAX).await;
        let client = Client::builder()
            .connect_timeout(Duration::MAX)
            .pool_idle_timeout(Duration::MAX)
            .max_lifetime(Duration::MAX)
            .build(&server.url())
            .unwrap();
        let proxy = ReverseProxy::new(client)
            .response_timeout(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .total_timeout(Duration::MAX);
        for _ in 0..3 {
            let request = Request::get("http://a/").body(Body::empty()).unwrap();
            let response = proxy.clone().oneshot(request).await.unwrap();
            assert_eq!(
                response.into_body().collect().await.unwrap().to_bytes(),
                "ok"
            );
        }
        assert_eq!(count.made(), 1);
        let none = Client::builder()
            .pool_idle_timeout(Duration::ZERO)
            .build(&server.url())
            .unwrap();
        send(&none, get()).await;
        eventually(|| count.open() == 1).await;
    })
    .await;
}

/// Trailers end a message, and its connection is free again.
#[tokio::test]
async fn a_response_with_trailers_gives_its_connection_back() {
    within(async {
        let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                        1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n";
        let count = Count::default();
        let entered = count.clone();
        let server = server::raw(move |mut conn| {
            let counted = entered.enter();
            async move {
                let _counted = counted;
                while conn.request().await.is_some() {
                    conn.send(response).await;
                }
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        for _ in 0..5 {
            let mut body = client.clone().oneshot(get()).await.unwrap().into_body();
            // As hyper's server does: no poll after the trailers.
            while !body.frame().await.unwrap().unwrap().is_trailers() {}
        }
        assert_eq!(count.made(), 1);
    })
    .await;
}

/// A connection of HTTP/2 on which a request waited in vain is left alone, until it shows life.
#[tokio::test(start_paused = true)]
async fn a_silent_http2_connection_is_left() {
    let count = Count::default();
    let entered = count.clone();
    let connector = service_fn(move |_: http::Uri| {
        let counted = entered.enter();
        async move {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let first = counted.0.made() == 1;
            tokio::spawn(async move {
                let _counted = counted;
                let mut connection = h2::server::handshake(theirs).await.unwrap();
                let mut answers = if first { 1 } else { usize::MAX };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    if answers == 0 {
                        pending::<()>().await;
                    }
                    answers -= 1;
                    let _ = respond.send_response(http::Response::new(()), true);
                }
            });
            Ok::<_, Infallible>(TokioIo::new(ours))
        }
    });
    let client = Client::builder()
        .connector(connector)
        .build("h2c://silent")
        .unwrap();
    let proxy = ReverseProxy::new(client).response_timeout(Duration::from_secs(10));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let request = Request::get("http://a/").body(Body::empty()).unwrap();
        statuses.push(
            proxy
                .clone()
                .oneshot(request)
                .await
                .unwrap()
                .status()
                .as_u16(),
        );
    }
    assert_eq!(statuses, [200, 504, 200, 200]);
    assert_eq!(count.made(), 2);
}

/// An upgrade to an endpoint of HTTP/2 by prior knowledge is a plain request, on the connection that is there.
#[tokio::test]
async fn upgrades_do_not_multiply_connections() {
    within(async {
        let app = Router::new().fallback(|| async { "plain" });
        let (server, count) = http2(100, usize::MAX, app).await;
        let proxy = proxy::to(&server.url_for(Http::Two)).await;
        for _ in 0..5 {
            let mut client = Conn::connect(proxy.address).await;
            client
                .send(proxy::get("Connection: upgrade\r\nUpgrade: websocket\r\n"))
                .await;
            assert_eq!(client.response().await.unwrap().text(), "plain");
        }
        assert_eq!(count.made(), 1);
    })
    .await;
}
