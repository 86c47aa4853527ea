//! Drains a backend under load, while a slow download and a WebSocket go through it, and restores it.
//!
//! Run with
//!
//! ```text
//! cargo run --example drain
//! ```
//!
//! Servers, proxy and clients all run in this program. It prints what happens, and ends by itself after about nine
//! seconds: the download finishes, and the WebSocket is cut off at the deadline of the drain.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body as AxumBody, Bytes},
    extract::ws::{WebSocket, WebSocketUpgrade},
    routing::get,
};
use axum_upstream::{Body, BoxError, Info, LoadBalance, ReverseProxy};
use futures_util::{StreamExt, stream};
use http::Request;
use http_body_util::BodyExt;
use tokio::{
    net::TcpListener,
    time::{Instant, interval, sleep},
};
use tokio_tungstenite::connect_async;
use tower::ServiceExt;

/// How long requests in flight may take from the beginning of the drain.
const DEADLINE: Duration = Duration::from_secs(5);

/// The parts of the download, and the time between two of them.
const PARTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(300);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (ada, grace) = (backend().await?, backend().await?);
    // Only ada at first, so that the download and the WebSocket are there.
    let backends = LoadBalance::new([&ada])?;
    let handle = backends.handle();

    let app = Router::new().fallback_service(ReverseProxy::new(backends.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());

    let start = Instant::now();
    let say = move |what: &str| println!("{:>4.1} s  {what}", start.elapsed().as_secs_f32());

    let (mut socket, _) = connect_async(format!("ws://{address}/chat")).await?;
    let request = Request::get("/download").body(Body::empty())?;
    let download = backends.clone().oneshot(request).await?;
    say("a download and a WebSocket are open at ada");

    let download = tokio::spawn(async move {
        let mut body = download.into_body();
        let mut parts = 0;
        while let Some(Ok(_)) = body.frame().await {
            parts += 1;
        }
        say(&format!("the download has ended: {parts} of {PARTS} parts"));
    });
    let chat = tokio::spawn(async move {
        while let Some(Ok(_)) = socket.next().await {}
        say("the WebSocket is closed");
    });

    handle.insert_url(&grace)?;
    let answers = Arc::new(Mutex::new(HashMap::new()));
    let load = tokio::spawn(send_load(backends, answers.clone()));
    let report = |when: &str| {
        let answers: HashMap<String, u32> =
            std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner));
        let of = |url: &str| answers.get(url).copied().unwrap_or(0);
        let others = answers.values().sum::<u32>() - of(&ada) - of(&grace);
        let (ada, grace) = (of(&ada), of(&grace));
        say(&format!(
            "requests {when}: ada {ada}, grace {grace}, failed {others}"
        ));
    };

    sleep(Duration::from_secs(1)).await;
    report("before the drain");

    say("ada is drained: 5 s for what is in flight");
    let cut_off = handle.drain(&ada, DEADLINE).await.unwrap_or(0);
    say(&format!("the drain has ended: {cut_off} cut off"));
    report("during the drain");
    for ended in [download, chat] {
        ended.await?;
    }

    // Here the server would be restarted.
    handle.restore(&ada);
    say("ada is restored");
    sleep(Duration::from_secs(3)).await;
    report("after it");
    load.abort();
    Ok(())
}

/// Sends a `GET` every ten milliseconds, and counts the answers of each endpoint.
async fn send_load(backends: LoadBalance, answers: Arc<Mutex<HashMap<String, u32>>>) {
    let mut ticks = interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        let answer = backends.clone().oneshot(Request::new(Body::empty())).await;
        let endpoint = match &answer {
            Ok(response) if response.status().is_success() => {
                response.extensions().get::<Info>().and_then(Info::endpoint)
            }
            _ => None,
        };
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = endpoint.unwrap_or("failed").to_owned();
        *answers.entry(endpoint).or_default() += 1;
    }
}

/// Starts a server with a slow download and a WebSocket. Returns its URL.
async fn backend() -> Result<String, BoxError> {
    let upgrade = async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(listen);
    let app = Router::new()
        .route("/download", get(async || AxumBody::from_stream(parts())))
        .route("/chat", get(upgrade))
        .fallback(async || "hello\n");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}

/// Yields the parts of the download.
fn parts() -> impl stream::Stream<Item = Result<Bytes, Infallible>> {
    stream::iter(0..PARTS).then(async |part| {
        sleep(PAUSE).await;
        Ok(Bytes::from(format!("part {part}\n")))
    })
}

/// Keeps a WebSocket open for as long as its client does.
async fn listen(mut socket: WebSocket) {
    while let Some(Ok(_)) = socket.recv().await {}
}
