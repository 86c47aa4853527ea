//! The proxy over a simulated network that loses touch with its endpoints: partitions in both directions and in one,
//! delays, and messages that are held back. Everything follows from a seed.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum_upstream::{Body, LoadBalance, ReverseProxy, upstream::Client};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::{task::JoinSet, time::sleep};
use tower::{ServiceExt, service_fn};

const SERVERS: [&str; 3] = ["one", "two", "three"];

/// How many requests are sent, one every 50 ms. The network is healed after [`TROUBLED`] of them.
const REQUESTS: usize = 140;
const TROUBLED: usize = 60;

/// How many requests of the end have to succeed: by then, all has been well for longer than any deadline and back-off.
const LAST: usize = 20;

/// How often each request was processed, by its number.
type Processed = Arc<Mutex<HashMap<usize, usize>>>;

#[test]
fn nothing_is_lost_doubled_or_mixed_up() {
    let mut failed = 0;
    for seed in 0..100 {
        failed += run(seed);
    }
    // The trouble was real: some requests could not be answered.
    assert!(failed > 0);
}

/// Runs one seed, and returns how many requests failed.
fn run(seed: u64) -> usize {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(60))
        .tick_duration(Duration::from_millis(4))
        .max_message_latency(Duration::from_millis(20))
        .build();
    let processed = Processed::default();
    for name in SERVERS {
        let processed = processed.clone();
        sim.host(name, move || serve(processed.clone()));
    }
    let answered = Arc::new(Mutex::new(Vec::new()));
    sim.client("proxy", send(seed, answered.clone()));
    let mut next = Duration::from_millis(200);
    let healed = Duration::from_millis(50 * TROUBLED as u64);
    loop {
        if sim.step().unwrap() {
            break;
        }
        if sim.elapsed() < next {
            continue;
        }
        let server = SERVERS[rng.usize(..SERVERS.len())];
        if sim.elapsed() >= healed {
            for server in SERVERS {
                sim.release("proxy", server);
                sim.repair("proxy", server);
            }
            next = Duration::MAX;
            continue;
        }
        match rng.u8(..5) {
            0 => sim.partition("proxy", server),
            1 => sim.partition_oneway("proxy", server),
            2 => sim.partition_oneway(server, "proxy"),
            3 => sim.hold("proxy", server),
            _ => {
                sim.release("proxy", server);
                sim.repair("proxy", server);
            }
        }
        next += Duration::from_millis(rng.u64(50..500));
    }
    let answered = answered.lock().unwrap();
    assert_eq!(answered.len(), REQUESTS, "seed {seed}: each has one answer");
    for (nth, status) in answered.iter() {
        let is_honest = matches!(status.as_u16(), 200 | 502..=504);
        assert!(is_honest, "seed {seed}: request {nth} got {status}");
        let is_last = *nth >= REQUESTS - LAST;
        assert!(
            !is_last || *status == 200,
            "seed {seed}: request {nth} got {status} after healing"
        );
    }
    for (nth, times) in processed.lock().unwrap().iter() {
        // Once, a hedge or a repeat, and what the client sends again on a new connection.
        let most = if is_post(*nth) { 1 } else { 4 };
        assert!(
            *times <= most,
            "seed {seed}: request {nth} was processed {times} times"
        );
    }
    answered.iter().filter(|(_, status)| *status != 200).count()
}

fn is_post(nth: usize) -> bool {
    nth % 3 == 0
}

/// A body that no other request has.
fn body(nth: usize) -> Bytes {
    format!("{nth};").repeat(1 + nth * 37 % 500).into()
}

/// Answers each request with its number and its own body.
async fn serve(processed: Processed) -> turmoil::Result {
    let listener = turmoil::net::TcpListener::bind("0.0.0.0:80").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let processed = processed.clone();
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let processed = processed.clone();
            async move {
                let nth = request.uri().path()[1..].parse().unwrap();
                let received = request.into_body().collect().await?.to_bytes();
                *processed.lock().unwrap().entry(nth).or_default() += 1;
                assert!(!is_post(nth) || received == body(nth));
                Ok::<_, hyper::Error>(Response::new(Full::new(body(nth))))
            }
        });
        tokio::spawn(async move {
            let server = hyper::server::conn::http1::Builder::new();
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Sends all requests, and notes the status of each. A body that is whole is that of its request.
async fn send(seed: u64, answered: Arc<Mutex<Vec<(usize, StatusCode)>>>) -> turmoil::Result {
    let connector = service_fn(|uri: Uri| async move {
        let host = uri.host().unwrap().to_owned();
        let stream = turmoil::net::TcpStream::connect((host, 80)).await?;
        Ok::<_, io::Error>(TokioIo::new(stream))
    });
    let client = Client::builder()
        .connector(connector)
        .connect_timeout(Duration::from_millis(500));
    let backends = LoadBalance::builder().seed(seed).client(client);
    let proxy = ReverseProxy::new(backends.urls(SERVERS.map(|name| format!("http://{name}")))?)
        .response_timeout(Duration::from_millis(1_000))
        .idle_timeout(Duration::from_millis(1_000));
    let mut requests = JoinSet::new();
    for nth in 0..REQUESTS {
        let (proxy, answered) = (proxy.clone(), answered.clone());
        requests.spawn(async move {
            let (method, sent) = match is_post(nth) {
                true => (Method::POST, Body::from(body(nth))),
                false => (Method::GET, Body::empty()),
            };
            let request = Request::builder()
                .method(method)
                .uri(format!("/{nth}"))
                .header("host", "a");
            let response: Result<_, Infallible> = proxy.oneshot(request.body(sent).unwrap()).await;
            let response = response.unwrap();
            let mut status = response.status();
            match response.into_body().collect().await {
                Ok(received) if status == 200 => assert_eq!(received.to_bytes(), body(nth)),
                Ok(_) => {}
                // A body that is cut is an error that the client sees.
                Err(_) => status = StatusCode::GATEWAY_TIMEOUT,
            }
            answered.lock().unwrap().push((nth, status));
        });
        sleep(Duration::from_millis(50)).await;
    }
    while let Some(request) = requests.join_next().await {
        request?;
    }
    Ok(())
}
