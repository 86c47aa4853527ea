//! The access log: one line per exchange, whatever becomes of it, and no request that waits for it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use axum::{Router, routing::any};
use axum_upstream::{
    Body, EndpointSpec, ForwardProxy, LoadBalance, ReverseProxy,
    access_log::{AccessLogFormat, AccessLogLayer},
    endpoint::BoxService,
    proxy::TargetPolicy,
};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Client, Conn, Http, server, within};

const STEP: Duration = Duration::from_millis(250);

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn json(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log(format: AccessLogFormat) -> (AccessLogLayer, Kept) {
    let kept = Kept::default();
    let builder = AccessLogLayer::builder(format).writer(kept.clone());
    (builder.build().unwrap(), kept)
}

fn get(uri: &str) -> Request<Body> {
    let request = Request::get(uri).header("host", "example.com");
    request.body(Body::empty()).unwrap()
}

/// A cluster of one endpoint whose head takes a step, and whose body takes another.
fn slow() -> LoadBalance<BoxService> {
    let service = service_fn(|request: Request<Body>| async {
        sleep(STEP).await;
        request.into_body().collect().await?;
        let body = futures_util::stream::once(async {
            sleep(STEP).await;
            Ok::<_, axum_upstream::BoxError>(Frame::data("hello".into()))
        });
        let body = Body::new(StreamBody::new(body));
        Ok::<_, axum_upstream::BoxError>(Response::new(body))
    });
    LoadBalance::builder()
        .name("api")
        .endpoints([EndpointSpec::new("one", service).boxed()])
        .unwrap()
}

/// The only line, without its time.
async fn line(log: &AccessLogLayer, kept: &Kept) -> Value {
    log.flush().await;
    let mut lines = kept.json();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let mut line = lines.remove(0);
    let time = line.as_object_mut().unwrap().remove("time").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    line
}

#[tokio::test(start_paused = true)]
async fn a_line_says_what_became_of_an_exchange() {
    let (log, kept) = log(AccessLogFormat::Json);
    let proxy = ReverseProxy::new(slow()).client_addr(([192, 0, 2, 7], 1).into());
    let mut request = get("/users?token=secret");
    *request.method_mut() = http::Method::PUT;
    *request.body_mut() = Body::from("twelve bytes");
    let response = log.layer(proxy).oneshot(request).await.unwrap();
    assert_eq!(kept.text(), "", "the exchange has not ended");
    response.into_body().collect().await.unwrap();
    let expected = json!({
        "client": "192.0.2.7", "method": "PUT", "path": "/users", "version": "HTTP/1.1", "status": 200,
        "bytes_in": 12, "bytes_out": 5, "duration": 0.5, "time_to_head": 0.25,
        "cluster": "api", "endpoint": "one", "attempts": 1, "error": null, "complete": true,
    });
    assert_eq!(line(&log, &kept).await, expected);
}

#[tokio::test(start_paused = true)]
async fn the_common_format_is_that_of_other_servers() {
    let (log, kept) = log(AccessLogFormat::Common);
    let proxy = ReverseProxy::new(slow()).client_addr(([192, 0, 2, 7], 1).into());
    let service = log.layer(proxy);
    let response = service.clone().oneshot(get("/a\"b?q=1")).await.unwrap();
    response.into_body().collect().await.unwrap();
    // The client leaves before the head.
    drop(Box::pin(service.oneshot(get("/"))).now_or_never());
    log.flush().await;
    let text = kept.text();
    let (first, second) = text.split_once('\n').unwrap();
    let (before, after) = first.split_once('[').unwrap();
    let (time, after) = after.split_once(']').unwrap();
    assert_eq!(before, "192.0.2.7 - - ");
    assert!(
        time.len() == "10/Oct/2000:13:55:36 +0000".len() && time.ends_with(" +0000"),
        "{time}"
    );
    assert_eq!(after, r#" "GET /a\"b HTTP/1.1" 200 5"#);
    assert!(second.ends_with("\"GET / HTTP/1.1\" 499 -\n"), "{second}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_the_head_has_a_line_with_the_endpoint() {
    let (log, kept) = log(AccessLogFormat::Json);
    let service = log.layer(ReverseProxy::new(slow()));
    drop(Box::pin(service.oneshot(get("/"))).now_or_never());
    let line = line(&log, &kept).await;
    assert_eq!(
        (&line["status"], &line["endpoint"]),
        (&json!(499), &json!("one"))
    );
    assert_eq!(
        (&line["error"], &line["complete"]),
        (&json!("client_gone"), &json!(false))
    );
    assert_eq!(
        (&line["attempts"], &line["time_to_head"]),
        (&json!(1), &json!(null))
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_during_the_body_has_a_line_that_is_not_complete() {
    let (log, kept) = log(AccessLogFormat::Json);
    let service = log.layer(ReverseProxy::new(slow()));
    drop(service.oneshot(get("/")).await.unwrap());
    let line = line(&log, &kept).await;
    assert_eq!(
        (&line["status"], &line["bytes_out"]),
        (&json!(200), &json!(0))
    );
    assert_eq!(
        (&line["error"], &line["complete"]),
        (&json!("client_gone"), &json!(false))
    );
}

#[tokio::test]
async fn a_body_that_breaks_is_not_complete() {
    within(async {
        let (log, kept) = log(AccessLogFormat::Json);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
        let server = server::raw(move |mut conn| async move {
            conn.request().await;
            conn.send(head).await;
        })
        .await;
        let proxy = ReverseProxy::new(LoadBalance::new([server.url()]).unwrap());
        let response = log.layer(proxy).oneshot(get("/")).await.unwrap();
        response.into_body().collect().await.unwrap_err();
        let line = line(&log, &kept).await;
        assert_eq!(
            (&line["status"], &line["bytes_out"]),
            (&json!(200), &json!(4))
        );
        assert_eq!(
            (&line["error"], &line["complete"]),
            (&json!("response_body"), &json!(false))
        );
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_refused_has_a_line_with_its_client() {
    let (log, kept) = log(AccessLogFormat::Json);
    let proxy = ReverseProxy::new(slow()).client_addr(([192, 0, 2, 7], 1).into());
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = log.layer(proxy).oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    let line = line(&log, &kept).await;
    assert_eq!(
        (&line["status"], &line["client"]),
        (&json!(400), &json!("192.0.2.7"))
    );
    assert_eq!(
        (&line["error"], &line["attempts"]),
        (&json!("bad_request"), &json!(0))
    );
    assert_eq!(
        (&line["endpoint"], &line["complete"]),
        (&json!(null), &json!(true))
    );
}

#[tokio::test]
async fn an_error_response_says_why() {
    let (log, kept) = log(AccessLogFormat::Json);
    let refusing = server::refusing();
    let proxy = ReverseProxy::new(LoadBalance::new([refusing.url()]).unwrap());
    let response = log.layer(proxy).oneshot(get("/")).await.unwrap();
    response.into_body().collect().await.unwrap();
    let line = line(&log, &kept).await;
    assert_eq!(
        (&line["status"], &line["error"]),
        (&json!(502), &json!("connect"))
    );
    assert_eq!(
        (&line["endpoint"], &line["complete"]),
        (&json!(refusing.url()), &json!(true))
    );
}

/// A balancer that is used without a proxy tells of the exchange by its response.
#[tokio::test(start_paused = true)]
async fn a_balancer_alone_has_its_endpoint_in_the_line() {
    let (log, kept) = log(AccessLogFormat::Json);
    let response = log.layer(slow()).oneshot(get("/")).await.unwrap();
    response.into_body().collect().await.unwrap();
    let line = line(&log, &kept).await;
    assert_eq!(
        (&line["cluster"], &line["endpoint"]),
        (&json!("api"), &json!("one"))
    );
}

#[tokio::test]
async fn any_service_can_be_logged() {
    let kept = Kept::default();
    let log = AccessLogLayer::builder(AccessLogFormat::Json)
        .writer(kept.clone())
        .query_fields(["page"])
        .client_address(|extensions| extensions.get::<IpAddr>().copied())
        .build()
        .unwrap();
    let app: Router = Router::new()
        .route("/", any(|| async { "hello" }))
        .layer(log.clone());
    let mut request = get("/?page=2&token=secret").map(axum::body::Body::new);
    request
        .extensions_mut()
        .insert(IpAddr::from([192, 0, 2, 9]));
    app.oneshot(request)
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    let line = line(&log, &kept).await;
    assert_eq!(
        (&line["client"], &line["path"]),
        (&json!("192.0.2.9"), &json!("/?page=2"))
    );
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&json!(null), &json!(5))
    );
    assert_eq!(
        (&line["attempts"], &line["complete"]),
        (&json!(0), &json!(true))
    );
}

#[tokio::test]
async fn a_service_that_fails_has_a_line_without_a_status() {
    let (log, kept) = log(AccessLogFormat::Json);
    let failing = service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("out of order") });
    log.layer(failing).oneshot(get("/")).await.unwrap_err();
    let line = line(&log, &kept).await;
    assert_eq!(
        (&line["status"], &line["error"]),
        (&json!(null), &json!("service"))
    );
}

#[tokio::test]
async fn the_line_of_a_tunnel_is_written_at_its_end() {
    within(async {
        let (log, kept) = log(AccessLogFormat::Json);
        let server = server::raw(|mut conn| async move {
            conn.head().await;
            let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            conn.send(agreed).await;
            conn.rest().await;
        })
        .await;
        let proxy = ReverseProxy::new(LoadBalance::new([server.url()]).unwrap());
        let app = Router::new().fallback_service(proxy).layer(log.clone());
        let proxy = server::app(app).await;
        let mut client = Conn::connect(proxy.address).await;
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        client.head().await.unwrap();
        log.flush().await;
        assert_eq!(kept.text(), "");
        client.finish().await;
        assert_eq!(client.rest().await, b"");
        loop {
            log.flush().await;
            if !kept.text().is_empty() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let line = line(&log, &kept).await;
        assert_eq!((&line["status"], &line["complete"]), (&json!(101), &json!(true)));
        assert_eq!(line["error"], json!(null));
    })
    .await;
}

/// A CONNECT has a line, too, which names its target: at the end of its tunnel, or when it was refused.
#[tokio::test]
async fn the_line_of_a_connect_names_its_target() {
    within(async {
        let (log, kept) = log(AccessLogFormat::Json);
        let target = server::raw(|mut conn| async move { drop(conn.rest().await) }).await;
        let policy = TargetPolicy::new().allow_networks(["127.0.0.1"]).unwrap();
        let proxy = ForwardProxy::new(policy.connect_ports([1..=u16::MAX]));
        let app = Router::new().fallback_service(proxy).layer(log.clone());
        let proxy = server::app(app).await;
        let address = target.address;
        let mut client = Conn::connect(proxy.address).await;
        client
            .send(format!("CONNECT {address} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        client.head().await.unwrap();
        log.flush().await;
        assert_eq!(kept.text(), "");
        let mut refused = Conn::connect(proxy.address).await;
        refused
            .send("CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        assert!(refused.head().await.unwrap().contains(" 403 "));
        drop(refused);
        let lines = async |count| loop {
            log.flush().await;
            let lines = kept.json();
            if lines.len() == count {
                break lines;
            }
            tokio::task::yield_now().await;
        };
        lines(1).await;
        client.finish().await;
        assert_eq!(client.rest().await, b"");
        let address = address.to_string();
        for (line, target, status, error) in [
            (&lines(2).await[0], "10.0.0.1:443", 403, json!("denied")),
            (&lines(2).await[1], address.as_str(), 200, json!(null)),
        ] {
            assert_eq!(line["method"], json!("CONNECT"));
            assert_eq!(
                (&line["path"], &line["endpoint"]),
                (&json!(target), &json!(target))
            );
            assert_eq!((&line["status"], &line["error"]), (&json!(status), &error));
            assert_eq!(line["client"], json!("127.0.0.1"));
        }
    })
    .await;
}

/// Nothing that a client or a user has chosen ends a line or a value.
#[tokio::test]
async fn no_line_can_be_forged() {
    let name = "one\"\n{\"forged\":true}\r\u{1b}[31m\u{2028}";
    for format in [AccessLogFormat::Json, AccessLogFormat::Common] {
        let (log, kept) = log(format);
        let service = service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let balance = LoadBalance::builder().endpoints([EndpointSpec::new(name, service).boxed()]);
        let service = log.layer(ReverseProxy::new(balance.unwrap()));
        drop(service.oneshot(get("/a\"%0a\\{\"x\"}")).await.unwrap());
        log.flush().await;
        let text = kept.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        let last = text.strip_suffix('\n').unwrap();
        assert!(!last.contains(char::is_control), "{text:?}");
        if format == AccessLogFormat::Json {
            let line: Value = serde_json::from_str(last).unwrap();
            assert_eq!(
                (&line["endpoint"], &line["path"]),
                (&json!(name), &json!("/a\"%0a\\{\"x\"}"))
            );
        }
    }
}

/// Writes nothing before the other end of `word` is dropped.
struct Blocked {
    word: mpsc::Receiver<()>,
    kept: Kept,
}

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.word.recv();
        self.kept.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_log_that_blocks_holds_no_request() {
    for format in [AccessLogFormat::Json, AccessLogFormat::Common] {
        let (word, wait) = mpsc::channel();
        let kept = Kept::default();
        let log = AccessLogLayer::builder(format)
            .writer(Blocked {
                word: wait,
                kept: kept.clone(),
            })
            .queue(4)
            .build()
            .unwrap();
        let hello = service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::from("hello")))
        });
        let mut service = log.layer(hello);
        for _ in 0..100 {
            let response = service.call(get("/")).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
        let dropped = log.dropped_lines();
        assert!(
            dropped >= 91,
            "at most four written and five in the queue: {dropped}"
        );
        drop(word);
        log.flush().await;
        // The queue may have been full to the end, with no line to report what was lost after it.
        drop((service, log));
        let text = kept.text();
        let (reports, lines): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| line.starts_with('#'));
        let reported: u64 = match format {
            AccessLogFormat::Json => kept
                .json()
                .iter()
                .filter_map(|line| line["dropped"].as_u64())
                .sum(),
            _ => reports
                .iter()
                .map(|line| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap())
                .sum(),
        };
        let lines = lines.iter().filter(|line| line.contains("GET")).count();
        assert_eq!((reported, lines as u64 + dropped), (dropped, 100), "{text}");
    }
}

/// Fails while the disk is full.
struct Disk {
    full: Arc<Mutex<bool>>,
    kept: Kept,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match *self.full.lock().unwrap() {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => self.kept.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn lines_that_cannot_be_written_are_counted() {
    let (full, kept) = (Arc::new(Mutex::new(false)), Kept::default());
    let disk = Disk {
        full: full.clone(),
        kept: kept.clone(),
    };
    let log = AccessLogLayer::builder(AccessLogFormat::Json)
        .writer(disk)
        .build()
        .unwrap();
    let hello =
        service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let mut service = log.layer(hello);
    for is_full in [false, true, true, false] {
        *full.lock().unwrap() = is_full;
        drop(service.call(get("/")).await.unwrap());
        log.flush().await;
    }
    let text = kept.text();
    let lines: Vec<Value> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let dropped: Vec<_> = lines.iter().map(|line| line["dropped"].as_u64()).collect();
    assert_eq!(
        (dropped, log.dropped_lines()),
        (vec![None, Some(2)], 2),
        "{text}"
    );
}

#[tokio::test]
async fn the_drop_of_the_layer_writes_what_is_in_the_queue() {
    let (log, kept) = log(AccessLogFormat::Json);
    let hello =
        service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let mut service = log.layer(hello);
    drop(log);
    for _ in 0..100 {
        drop(service.call(get("/")).await.unwrap());
    }
    drop(service);
    assert_eq!(kept.json().len(), 100);
}

/// Counts the requests that reach a service, by path.
#[derive(Clone, Default)]
struct Arrived(Arc<Mutex<BTreeMap<String, usize>>>);

/// Clients of both versions that read to the end, leave before the head and leave during the body; endpoints that
/// answer, fail, break off and refuse.
#[tokio::test]
async fn each_exchange_has_one_line_under_load() {
    within(async {
        let good = server::app(Router::new().fallback(any(|| async { vec![b'x'; 100_000] }))).await;
        let broken = server::raw(|mut conn| async move {
            conn.request().await;
            let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
            conn.send(half).await;
        })
        .await;
        let failing = server::app(
            Router::new().fallback(any(|| async { http::StatusCode::INTERNAL_SERVER_ERROR })),
        )
        .await;
        let refusing = server::refusing();
        let urls = [good.url(), broken.url(), failing.url(), refusing.url()];
        let balance = LoadBalance::builder()
            .policy(axum_upstream::policy::Policy::from(
                axum_upstream::policy::RoundRobin,
            ))
            .urls(urls)
            .unwrap();
        let (log, kept) = log(AccessLogFormat::Json);
        let arrived = Arrived::default();
        let count = arrived.clone();
        let app = Router::new()
            .fallback_service(ReverseProxy::new(balance))
            .layer(log.clone())
            .layer(axum::middleware::from_fn(
                move |request: axum::extract::Request, next: axum::middleware::Next| {
                    *count
                        .0
                        .lock()
                        .unwrap()
                        .entry(request.uri().path().to_owned())
                        .or_default() += 1;
                    next.run(request)
                },
            ));
        let proxy = server::app(app).await;
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..40 {
            let http = [Http::One, Http::Two][client % 2];
            clients.spawn(of_a_client(client, http, proxy.address));
        }
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        // What the clients have left ends when the proxy's connections notice.
        let expected = || arrived.0.lock().unwrap().values().sum::<usize>();
        loop {
            log.flush().await;
            if kept.json().len() >= expected() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut lines = BTreeMap::<String, usize>::new();
        for line in kept.json() {
            *lines
                .entry(line["path"].as_str().unwrap().to_owned())
                .or_default() += 1;
        }
        assert_eq!(lines, *arrived.0.lock().unwrap());
        assert!(
            lines.len() > 300 && log.dropped_lines() == 0,
            "{}",
            lines.len()
        );
        let statuses: std::collections::BTreeSet<_> = kept
            .json()
            .iter()
            .map(|line| line["status"].as_u64())
            .collect();
        assert!(
            statuses.contains(&Some(200)) && statuses.contains(&Some(500)),
            "{statuses:?}"
        );
    })
    .await;
}

/// Sends ten requests, and leaves some of them.
async fn of_a_client(nth: usize, http: Http, address: SocketAddr) {
    let mut client = Client::connect(http, address).await;
    for request in 0..10 {
        let path = format!("/{nth}/{request}");
        let sent = client.try_send(get_path(&path));
        match (nth + request) % 5 {
            // Before the head.
            0 => drop(futures_util::poll!(Box::pin(sent))),
            // During the body.
            1 => drop(sent.await),
            _ => {
                if let Ok(response) = sent.await {
                    let _ = response.into_body().collect().await;
                }
                continue;
            }
        }
        client = Client::connect(http, address).await;
    }
}

fn get_path(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// The client's address is that behind a trusted proxy.
#[tokio::test]
async fn the_client_is_the_one_behind_trusted_proxies() {
    let (log, kept) = log(AccessLogFormat::Json);
    let proxy = ReverseProxy::new(slow())
        .client_addr(([10, 0, 0, 1], 1).into())
        .trusted_peers(["10.0.0.0/8"])
        .unwrap();
    let mut request = get("/");
    let forwarded = "203.0.113.5".parse().unwrap();
    request.headers_mut().insert("x-forwarded-for", forwarded);
    drop(Box::pin(log.layer(proxy).oneshot(request)).now_or_never());
    assert_eq!(line(&log, &kept).await["client"], json!("203.0.113.5"));
}
