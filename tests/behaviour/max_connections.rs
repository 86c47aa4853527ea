//! `max_connections`: who gets a place, and when.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    thread,
};

use axum::{Router, extract::Request as AxumRequest};
use axum_upstream::{Body, upstream::Client};
use futures_util::poll;
use http::Request;
use http_body_util::BodyExt;
use tokio::{
    runtime,
    sync::{mpsc, oneshot, watch},
};
use tower::ServiceExt;

use crate::support::{
    Http, eventually,
    proxy::OK,
    server,
    tls::{self, Authority},
    within,
};

/// An application that answers with its request's version, `/held` when told to.
#[derive(Clone)]
struct App {
    arrived: Arc<Mutex<Vec<String>>>,
    go: watch::Sender<bool>,
}

impl App {
    fn new() -> Self {
        Self {
            arrived: Arc::default(),
            go: watch::channel(false).0,
        }
    }

    fn router(&self) -> Router {
        let Self { arrived, go } = self.clone();
        Router::new().fallback(move |request: AxumRequest| {
            let path = request.uri().path().to_owned();
            arrived.lock().unwrap().push(path.clone());
            let mut going = go.subscribe();
            async move {
                if path == "/held" {
                    drop(going.wait_for(|go| *go).await);
                }
                format!("{:?}", request.version())
            }
        })
    }

    async fn has(&self, path: &str) {
        eventually(|| self.arrived.lock().unwrap().iter().any(|p| p == path)).await;
    }
}

async fn get(client: &Client, path: &str) -> String {
    let request = Request::get(path).body(Body::empty()).unwrap();
    ask(client, request).await
}

/// The body of the answer, or what went wrong.
async fn ask(client: &Client, request: Request<Body>) -> String {
    match client.clone().oneshot(request).await {
        Ok(response) => {
            let body = response.into_body().collect().await.unwrap().to_bytes();
            String::from_utf8(body.into()).unwrap()
        }
        Err(error) => error.to_string(),
    }
}

/// A request on a runtime of its own, which goes on running until this is dropped, as a server's does.
struct Elsewhere {
    answer: oneshot::Receiver<String>,
    _alive: oneshot::Sender<()>,
}

impl Elsewhere {
    /// Returns when the request waits for a place.
    async fn waiting(client: &Client, path: &'static str) -> Self {
        let (waits, is_waiting) = oneshot::channel();
        let (answered, answer) = oneshot::channel();
        let (_alive, ended) = oneshot::channel();
        let client = client.clone();
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let mut asked = pin!(get(&client, path));
                assert!(poll!(&mut asked).is_pending());
                waits.send(()).unwrap();
                let _ = answered.send(asked.await);
                drop(ended.await);
            });
        });
        is_waiting.await.unwrap();
        Self { answer, _alive }
    }

    async fn answer(&mut self) -> String {
        (&mut self.answer).await.unwrap()
    }
}

/// A connection that comes to idle on one runtime gives its place to a request that waits on another.
#[tokio::test]
async fn a_place_that_one_runtime_frees_is_given_to_another() {
    for up in [Http::One, Http::Two] {
        within(async {
            let app = App::new();
            let server = server::app(app.router()).await;
            let client = Client::builder().max_connections(1);
            let client = client.build(&server.url_for(up)).unwrap();
            let first = tokio::spawn({
                let client = client.clone();
                async move { get(&client, "/held").await }
            });
            app.has("/held").await;
            let mut other = Elsewhere::waiting(&client, "/other").await;
            app.go.send(true).unwrap();
            let version = first.await.unwrap();
            assert!(version.starts_with("HTTP/"), "{version}");
            assert_eq!(other.answer().await, version, "{up:?}");
        })
        .await;
    }
}

/// First come, first served, whatever the runtime: what came free is not taken by those that came later, and what the
/// first in line cannot use is not lost.
#[tokio::test]
async fn requests_wait_in_line() {
    within(async {
        let app = App::new();
        let server = server::app(app.router()).await;
        let client = Client::builder().max_connections(1);
        let client = client.build(&server.url()).unwrap();
        let spawn = |path| {
            let client = client.clone();
            tokio::spawn(async move { get(&client, path).await })
        };
        let held = spawn("/held");
        app.has("/held").await;
        let mut one = Elsewhere::waiting(&client, "/1").await;
        let mut two = pin!(get(&client, "/2"));
        assert!(poll!(&mut two).is_pending());
        let mut given_up = Box::pin(get(&client, "/given/up"));
        assert!(poll!(&mut given_up).is_pending());
        drop(given_up);
        let mut three = Elsewhere::waiting(&client, "/3").await;
        app.go.send(true).unwrap();
        assert_eq!(held.await.unwrap(), "HTTP/1.1");
        let four = get(&client, "/4");
        let (two, four) = tokio::join!(two, four);
        for answer in [one.answer().await, two, three.answer().await, four] {
            assert_eq!(answer, "HTTP/1.1");
        }
        let arrived = app.arrived.lock().unwrap().clone();
        assert_eq!(arrived, ["/held", "/1", "/2", "/3", "/4"]);
    })
    .await;
}

/// An HTTP/2 connection that nothing uses any more makes way for an upgrade, which needs one of HTTP/1, however its
/// last request has ended.
#[tokio::test]
async fn an_upgrade_is_given_the_place_of_an_unused_http2_connection() {
    for client_leaves in [false, true] {
        upgrade_after(client_leaves).await;
    }
}

async fn upgrade_after(client_leaves: bool) {
    within(async {
        let authority = Authority::new();
        let identity = authority.issue(&["localhost"], |_| ()).server();
        let app = App::new();
        let server = tls::app(app.router(), identity, &["h2", "http/1.1"]).await;
        let client = Client::builder().max_connections(1).tls(authority.client());
        let client = client.build(&format!("https://localhost:{}", server.address.port()));
        let client = client.unwrap();
        let held = tokio::spawn({
            let client = client.clone();
            async move { get(&client, "/held").await }
        });
        app.has("/held").await;
        let upgrade = Request::get("/").header("upgrade", "websocket");
        let mut upgrade = pin!(ask(&client, upgrade.body(Body::empty()).unwrap()));
        assert!(poll!(&mut upgrade).is_pending());
        if client_leaves {
            held.abort();
        } else {
            app.go.send(true).unwrap();
            assert_eq!(held.await.unwrap(), "HTTP/2.0");
        }
        assert_eq!(upgrade.await, "HTTP/1.1");
    })
    .await;
}

/// A request that is sent once more, because the server closed an idle connection, goes over a new one: others may have
/// been closed as well.
#[tokio::test]
async fn what_is_sent_again_goes_over_a_new_connection() {
    within(async {
        // Each connection is good for one request, and closes at the second.
        let (second, mut seconds) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
        let server = server::raw(move |mut conn| {
            let second = second.clone();
            async move {
                conn.request().await;
                conn.send(OK).await;
                if conn.request().await.is_some() {
                    let (close, closing) = oneshot::channel();
                    second.send(close).unwrap();
                    drop(closing.await);
                }
            }
        })
        .await;
        let client = Client::builder().max_connections(1);
        let client = client.build(&server.url()).unwrap();
        assert_eq!(get(&client, "/").await, "ok");

        let mut again = pin!(get(&client, "/again"));
        let close = tokio::select! {
            _ = &mut again => panic!("answered"),
            close = seconds.recv() => close.unwrap(),
        };
        let mut between = pin!(get(&client, "/between"));
        assert!(poll!(&mut between).is_pending());
        close.send(()).unwrap();
        assert_eq!(tokio::join!(again, between), ("ok".into(), "ok".into()));
    })
    .await;
}
