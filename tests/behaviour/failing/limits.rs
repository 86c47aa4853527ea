//! Limits of what is in flight, and the queue of the requests beyond them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_upstream::{Body, LoadBalance, ReverseProxy, balance::LoadBalanceBuilder};
use http::{Request, StatusCode};
use tokio::task::JoinHandle;
use tower::ServiceExt;

use super::{
    servers::Held,
    trial::{Answer, Trial, answer_from, in_turn, skip},
};
use crate::support::{eventually, within};

/// A request for a path, by a tenant.
fn request(path: &str, tenant: &str) -> Request<Body> {
    let request = Request::get(path).header("x-tenant", tenant);
    request.body(Body::empty()).unwrap()
}

/// The settings of a queue of this length, whose lanes are tenants, and the number of requests that have come to it.
fn queue(length: usize) -> (LoadBalanceBuilder, Arc<AtomicUsize>) {
    let queued = Arc::new(AtomicUsize::new(0));
    let count = queued.clone();
    let settings = in_turn()
        .max_in_flight(1)
        .queue(length, Duration::from_secs(30))
        .queue_by(move |request| {
            count.fetch_add(1, SeqCst);
            request.headers().get("x-tenant").cloned()
        });
    (settings, queued)
}

/// A proxy over one server that answers one request at a time, and a client that sends one request after the other
/// without waiting for answers.
struct Queue {
    trial: Trial,
    held: Held,
    queued: Arc<AtomicUsize>,
}

impl Queue {
    async fn new(length: usize) -> Self {
        let held = Held::new().await;
        let (settings, queued) = queue(length);
        let trial = Trial::new(settings, &[held.url()]).await;
        Self {
            trial,
            held,
            queued,
        }
    }

    /// Sends the first request, which is not queued, and waits until the server has it.
    async fn occupy(&mut self) -> JoinHandle<Answer> {
        let sent = tokio::spawn(answer_from(
            self.trial.proxy.address,
            request("/first", "a"),
        ));
        assert_eq!(self.held.next().await, "/first");
        sent
    }

    /// Sends a request, and waits until it is in the queue, or was refused.
    async fn send(&self, path: &str, tenant: &str) -> JoinHandle<Answer> {
        let before = self.queued.load(SeqCst);
        let sent = tokio::spawn(answer_from(self.trial.proxy.address, request(path, tenant)));
        eventually(|| self.queued.load(SeqCst) > before).await;
        sent
    }
}

fn is_overloaded((status, headers, _, is_whole): &Answer) -> bool {
    *status == 503 && headers.contains_key("retry-after") && *is_whole
}

/// Runs 20 requests at once against two servers, and returns how many were answered, and the most that each had at once.
async fn at_once(settings: LoadBalanceBuilder, expected: usize) -> (usize, [usize; 2]) {
    let servers = [Held::new().await, Held::new().await];
    let trial = Trial::new(settings, &[servers[0].url(), servers[1].url()]).await;
    let sent: Vec<_> = (0..20)
        .map(|_| tokio::spawn(answer_from(trial.proxy.address, request("/", "a"))))
        .collect();
    // The rest is refused at once, while these wait.
    eventually(|| sent.iter().filter(|sent| sent.is_finished()).count() == 20 - expected).await;
    let most = [&servers[0], &servers[1]].map(|server| server.count.most());
    for server in &servers {
        server.answer(20);
    }
    let mut answered = 0;
    for sent in sent {
        let answer = within(sent).await.unwrap();
        match answer.0 {
            200 => answered += 1,
            _ => assert!(is_overloaded(&answer), "{answer:?}"),
        }
    }
    (answered, most)
}

/// Exactly as many as may be are in flight, however many come at once.
#[tokio::test]
async fn the_limit_of_an_endpoint_is_exact() {
    assert_eq!(at_once(in_turn().max_in_flight(3), 6).await, (6, [3, 3]));
    let p2c = LoadBalance::builder().seed(1).max_in_flight(3);
    assert_eq!(at_once(p2c, 6).await, (6, [3, 3]));
}

#[tokio::test]
async fn the_limit_of_a_cluster_is_exact() {
    let (answered, most) = at_once(in_turn().max_in_flight_total(5), 5).await;
    assert_eq!((answered, most.iter().sum::<usize>()), (5, 5));
    let (answered, most) = at_once(in_turn().max_in_flight_total(5).max_in_flight(2), 4).await;
    assert_eq!((answered, most), (4, [2, 2]));
}

/// A request counts until its last byte has left: the next one is not sent before.
#[tokio::test]
async fn those_that_wait_are_served_in_order() {
    let mut queue = Queue::new(10).await;
    let mut sent = vec![queue.occupy().await];
    for nth in 0..5 {
        sent.push(queue.send(&format!("/{nth}"), "a").await);
    }
    for nth in 0..5 {
        assert_eq!(queue.held.seen(), None, "one at a time");
        queue.held.answer(1);
        assert_eq!(queue.held.next().await, format!("/{nth}"));
    }
    queue.held.answer(1);
    for sent in sent {
        assert_eq!(within(sent).await.unwrap().0, 200);
    }
    assert_eq!(queue.held.count.most(), 1);
}

/// The queue has a length and a deadline; beyond either it is a 503 that says when to come back.
#[tokio::test]
async fn what_does_not_fit_or_waits_too_long_is_a_503() {
    let mut queue = Queue::new(2).await;
    let first = queue.occupy().await;
    let waiting = [queue.send("/1", "a").await, queue.send("/2", "a").await];
    let refused = within(queue.send("/3", "a").await).await.unwrap();
    assert!(is_overloaded(&refused), "{refused:?}");
    skip(Duration::from_secs(29)).await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    skip(Duration::from_secs(2)).await;
    for waiting in waiting {
        let late = within(waiting).await.unwrap();
        assert!(is_overloaded(&late), "{late:?}");
    }
    queue.held.answer(1);
    assert_eq!(within(first).await.unwrap().0, 200);
    assert_eq!(queue.held.seen(), None);
    // There is room again.
    let next = tokio::spawn(answer_from(queue.trial.proxy.address, request("/4", "a")));
    assert_eq!(queue.held.next().await, "/4");
    queue.held.answer(1);
    assert_eq!(within(next).await.unwrap().0, 200);
}

/// One tenant that floods the queue waits for itself: the other one's request is served in turn, and finds room.
#[tokio::test]
async fn lanes_are_served_in_turn() {
    let mut queue = Queue::new(4).await;
    let first = queue.occupy().await;
    let mut flood = Vec::new();
    for nth in 0..4 {
        flood.push(queue.send(&format!("/flood/{nth}"), "a").await);
    }
    let other = queue.send("/other", "b").await;
    // The last one of the longest lane has made room.
    let pushed_out = within(flood.pop().unwrap()).await.unwrap();
    assert!(is_overloaded(&pushed_out), "{pushed_out:?}");
    let mut order = Vec::new();
    for _ in 0..4 {
        queue.held.answer(1);
        order.push(queue.held.next().await);
    }
    queue.held.answer(1);
    let place = order.iter().position(|path| path == "/other").unwrap();
    assert!(place <= 1, "{order:?}");
    for sent in [first, other].into_iter().chain(flood) {
        assert_eq!(within(sent).await.unwrap().0, 200);
    }
}

/// A client that goes away leaves the queue, and its place is free at once.
#[tokio::test]
async fn a_client_that_goes_away_leaves_the_queue() {
    let mut held = Held::new().await;
    let (settings, queued) = queue(2);
    let proxy = ReverseProxy::new(settings.urls([held.url()]).unwrap());
    let send = |path: &str| {
        let mut request = request(path, "a");
        request.headers_mut().insert("host", "a".parse().unwrap());
        Box::pin(proxy.clone().oneshot(request))
    };
    let first = tokio::spawn(send("/first"));
    assert_eq!(held.next().await, "/first");
    let (mut gone, mut stays) = (send("/gone"), send("/stays"));
    assert!(futures_util::poll!(&mut gone).is_pending());
    assert!(futures_util::poll!(&mut stays).is_pending());
    assert_eq!(queued.load(SeqCst), 2);
    let full = within(send("/full")).await.unwrap();
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(gone);
    let mut last = send("/last");
    assert!(futures_util::poll!(&mut last).is_pending());

    let (stays, last) = (tokio::spawn(stays), tokio::spawn(last));
    held.answer(3);
    for (sent, path) in [(first, "/stays"), (stays, "/last")] {
        // The body keeps the request in flight.
        drop(within(sent).await.unwrap().unwrap());
        assert_eq!(held.next().await, path);
    }
    assert_eq!(
        within(last).await.unwrap().unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(held.count.made(), 3);
}
