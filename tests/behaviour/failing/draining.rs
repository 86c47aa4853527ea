//! Endpoints that are drained, and a cluster that is empty and woken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_upstream::{ErrorKind, LoadBalance, endpoint::Availability};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::{
    servers::good,
    trial::{Trial, answer_from, get, in_turn, skip},
};
use crate::support::{Client, Conn, Http, eventually, proxy::OK, server, server::Server, within};

const ASK: &str =
    "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const AGREE: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A server that sends half of each download and waits for the rest to be let go, makes tunnels that echo, and does not
/// answer `/pending` before that either.
async fn slow(go: &Arc<Semaphore>) -> Server {
    let go = go.clone();
    server::raw(move |mut conn| {
        let go = go.clone();
        async move {
            while let Some(head) = conn.head().await {
                let path = head.split(' ').nth(1).unwrap_or_default();
                match path {
                    "/tunnel" => {
                        conn.send(AGREE).await;
                        loop {
                            let byte = conn.take(1).await;
                            if byte.is_empty() || !conn.try_send(byte).await {
                                return;
                            }
                        }
                    }
                    "/pending" => {
                        go.acquire().await.unwrap().forget();
                        conn.try_send(OK).await;
                    }
                    _ => {
                        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
                            .await;
                        go.acquire().await.unwrap().forget();
                        conn.try_send("rest").await;
                    }
                }
            }
        }
    })
    .await
}

/// A proxy over one such server.
struct Draining {
    trial: Trial,
    go: Arc<Semaphore>,
    url: String,
    _server: Server,
}

async fn draining() -> Draining {
    let go = Arc::new(Semaphore::new(0));
    let slow = slow(&go).await;
    let url = slow.url();
    Draining {
        trial: Trial::new(LoadBalance::builder().seed(1), std::slice::from_ref(&url)).await,
        go,
        url,
        _server: slow,
    }
}

impl Draining {
    /// Opens a tunnel.
    async fn tunnel(&self) -> Conn {
        let mut client = Conn::connect(self.trial.proxy.address).await;
        client.send(ASK).await;
        let head = within(client.head()).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        client.send("a").await;
        assert_eq!(within(client.take(1)).await, b"a");
        client
    }

    /// Begins a download, and reads the first half.
    async fn download(&self) -> hyper::body::Incoming {
        let mut client = Client::connect(Http::One, self.trial.proxy.address).await;
        let mut body = within(client.get("/download")).await.into_body();
        let half = within(body.frame()).await.unwrap().unwrap();
        assert_eq!(half.into_data().unwrap(), "half");
        // The driver of the connection goes with the client, which the body needs.
        std::mem::forget(client);
        body
    }
}

/// Completes with the last byte of what was in flight, tunnels included, and not before.
#[tokio::test]
async fn a_drain_ends_with_the_last_byte() {
    let draining = draining().await;
    let handle = &draining.trial.handle;
    let mut tunnel = draining.tunnel().await;
    let mut download = draining.download().await;
    let pending = tokio::spawn(answer_from(
        draining.trial.proxy.address,
        http::Request::get("/pending")
            .body(axum_upstream::Body::empty())
            .unwrap(),
    ));
    eventually(|| draining.trial.in_flight(0) == 3).await;

    let (other, url) = (handle.clone(), draining.url.clone());
    let drained = tokio::spawn(async move { other.drain(&url, Duration::MAX).await });
    eventually(|| draining.trial.availability(0) == Availability::Draining).await;
    let refused = within(answer_from(draining.trial.proxy.address, get())).await;
    assert_eq!(refused.0, 503);

    draining.go.add_permits(9);
    assert_eq!(within(pending).await.unwrap().0, 200);
    let rest = within(download.frame()).await.unwrap().unwrap();
    assert_eq!(rest.into_data().unwrap(), "rest");
    assert!(within(download.frame()).await.is_none());
    eventually(|| draining.trial.in_flight(0) == 1).await;
    tunnel.send("b").await;
    assert_eq!(within(tunnel.take(1)).await, b"b");
    assert!(!drained.is_finished());

    drop(tunnel);
    assert_eq!(within(drained).await.unwrap(), Some(0));
    assert_eq!(draining.trial.in_flight(0), 0);
}

/// At the deadline, the rest is cut off: a response breaks, a tunnel closes, and a request without a head is a 503.
#[tokio::test]
async fn a_drain_cuts_off_what_is_left_at_its_deadline() {
    let mut draining = draining().await;
    let mut tunnel = draining.tunnel().await;
    draining.trial.forget().await;
    let mut download = draining.download().await;
    draining.trial.forget().await;
    let pending = http::Request::get("/pending")
        .body(axum_upstream::Body::empty())
        .unwrap();
    let pending = tokio::spawn(answer_from(draining.trial.proxy.address, pending));
    eventually(|| draining.trial.in_flight(0) == 3).await;

    let (handle, url) = (draining.trial.handle.clone(), draining.url.clone());
    let drained = tokio::spawn(async move { handle.drain(&url, Duration::from_secs(30)).await });
    eventually(|| draining.trial.availability(0) == Availability::Draining).await;
    skip(Duration::from_secs(29)).await;
    assert!(!drained.is_finished() && !pending.is_finished());
    skip(Duration::from_secs(2)).await;

    assert_eq!(within(drained).await.unwrap(), Some(3));
    let seen = draining.trial.seen(within(pending).await.unwrap()).await;
    assert_eq!(seen.status, 503);
    let outcome = seen.first();
    assert_eq!(outcome.error(), Some(ErrorKind::Drained));
    assert!(!outcome.is_failure());
    assert!(within(download.frame()).await.unwrap().is_err());
    assert!(within(tunnel.closed()).await);
    eventually(|| draining.trial.in_flight(0) == 0).await;

    // It comes back as it was.
    assert!(draining.trial.handle.restore(&draining.url));
    assert_eq!(draining.trial.availability(0), Availability::Usable);
    let mut again = draining.download().await;
    draining.go.add_permits(9);
    assert!(within(again.frame()).await.unwrap().is_ok());
}

/// A request that may be repeated, and has no head at the deadline of a drain, goes to another endpoint.
#[tokio::test]
async fn what_a_drain_cuts_off_is_sent_elsewhere() {
    let go = Arc::new(Semaphore::new(0));
    let (slow, other) = (slow(&go).await, good().await);
    let mut trial = Trial::new(in_turn(), &[slow.url(), other.url()]).await;
    let pending = http::Request::get("/pending");
    let pending = pending.body(axum_upstream::Body::empty()).unwrap();
    let pending = tokio::spawn(answer_from(trial.proxy.address, pending));
    eventually(|| trial.in_flight(0) == 1).await;
    let cut_off = trial.handle.drain(&slow.url(), Duration::ZERO).await;
    assert_eq!(cut_off, Some(1));
    let seen = trial.seen(within(pending).await.unwrap()).await;
    assert_eq!(seen.status, 200);
    assert_eq!(seen.path(), [0, 1]);
}

/// Of several endpoints, the others take the requests.
#[tokio::test]
async fn requests_go_elsewhere_during_a_drain() {
    let (first, second) = (good().await, good().await);
    let mut trial = Trial::new(in_turn(), &[first.url(), second.url()]).await;
    for _ in 0..4 {
        trial.get().await.is_ok();
    }
    assert_eq!(
        trial.handle.drain(&first.url(), Duration::ZERO).await,
        Some(0)
    );
    assert_eq!(
        trial.handle.drain("http://unknown", Duration::ZERO).await,
        None
    );
    for _ in 0..4 {
        trial.get().await.is_ok();
    }
    assert_eq!((first.requests(), second.requests()), (2, 6));
    assert!(trial.handle.restore(&first.url()));
    for _ in 0..4 {
        trial.get().await.is_ok();
    }
    assert_eq!((first.requests(), second.requests()), (4, 8));
}

/// Dropping the future keeps the endpoint without requests, and cuts nothing off.
#[tokio::test]
async fn a_drain_that_is_dropped_cuts_nothing_off() {
    let draining = draining().await;
    let mut tunnel = draining.tunnel().await;
    let (handle, url) = (draining.trial.handle.clone(), draining.url.clone());
    let drained = tokio::spawn(async move { handle.drain(&url, Duration::from_secs(5)).await });
    eventually(|| draining.trial.availability(0) == Availability::Draining).await;
    drained.abort();
    assert!(drained.await.unwrap_err().is_cancelled());
    skip(Duration::from_secs(10)).await;
    assert_eq!(draining.trial.availability(0), Availability::Draining);
    tunnel.send("b").await;
    assert_eq!(within(tunnel.take(1)).await, b"b");
    assert_eq!(draining.trial.in_flight(0), 1);
}

/// An endpoint that is restored during the drain keeps what is in flight.
#[tokio::test]
async fn a_restore_ends_a_drain_in_progress() {
    let draining = draining().await;
    let mut tunnel = draining.tunnel().await;
    let (handle, url) = (draining.trial.handle.clone(), draining.url.clone());
    let drained = tokio::spawn(async move { handle.drain(&url, Duration::from_secs(5)).await });
    eventually(|| draining.trial.availability(0) == Availability::Draining).await;
    assert!(draining.trial.handle.restore(&draining.url));
    skip(Duration::from_secs(6)).await;
    assert_eq!(within(drained).await.unwrap(), Some(1));
    assert_eq!(draining.trial.availability(0), Availability::Usable);
    tunnel.send("b").await;
    assert_eq!(within(tunnel.take(1)).await, b"b");
}

/// All requests that find the cluster empty call the hook once, and go on with the first endpoint.
#[tokio::test]
async fn an_empty_cluster_is_woken_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let called = calls.clone();
    let settings = in_turn().wake(Duration::from_secs(30), move || {
        called.fetch_add(1, SeqCst);
    });
    let trial = Trial::new(settings, &[]).await;
    let address = trial.proxy.address;
    let held: Vec<_> = (0..20)
        .map(|_| tokio::spawn(answer_from(address, get())))
        .collect();
    eventually(|| calls.load(SeqCst) == 1).await;
    // One of them has gone meanwhile.
    held[7].abort();
    skip(Duration::from_secs(20)).await;
    assert!(
        held.iter()
            .enumerate()
            .all(|(nth, held)| nth == 7 || !held.is_finished())
    );
    let good = good().await;
    trial.handle.insert_url(&good.url()).unwrap();
    for (nth, held) in held.into_iter().enumerate() {
        if nth != 7 {
            assert_eq!(within(held).await.unwrap().0, 200);
        }
    }
    assert_eq!(calls.load(SeqCst), 1);
}

/// If none comes in time, they fail, and the next one calls again.
#[tokio::test]
async fn a_cluster_that_is_not_woken_in_time_is_a_503() {
    let calls = Arc::new(AtomicUsize::new(0));
    let called = calls.clone();
    let settings = in_turn().wake(Duration::from_secs(30), move || {
        called.fetch_add(1, SeqCst);
    });
    let trial = Trial::new(settings, &[]).await;
    for nth in 1..=2 {
        let held = tokio::spawn(answer_from(trial.proxy.address, get()));
        eventually(|| calls.load(SeqCst) == nth).await;
        skip(Duration::from_secs(29)).await;
        assert!(!held.is_finished());
        skip(Duration::from_secs(2)).await;
        let (status, headers, ..) = within(held).await.unwrap();
        assert_eq!(status, 503);
        assert!(headers.contains_key("retry-after"));
    }
}
