//! What the tests of sources have in common: servers to discover, clients that must not notice, and what a cluster says.

use std::{
    future::{Future, IntoFuture},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::Router;
use axum_upstream::{Body, LoadBalance};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::ServiceExt;

/// A test that waits for something that never comes fails instead of hanging.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    timeout(limit, future).await.expect("nothing happened")
}

/// Waits until `condition` holds, which others are about to bring about. Other processes among them need the core.
pub async fn eventually(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// The names, weights and tiers of the endpoints, sorted.
pub fn endpoints(balance: &LoadBalance) -> Vec<(String, u32, u8)> {
    let endpoints = balance.status().endpoints;
    let mut all: Vec<_> = endpoints
        .iter()
        .map(|endpoint| (endpoint.name.to_string(), endpoint.weight, endpoint.tier))
        .collect();
    all.sort();
    all
}

/// The names of the endpoints, sorted.
pub fn names(balance: &LoadBalance) -> Vec<String> {
    let all = endpoints(balance).into_iter();
    all.map(|(name, ..)| name).collect()
}

/// Waits until these are the endpoints, whose names are sorted here.
pub async fn becomes<S: AsRef<str>>(balance: &LoadBalance, expected: &[S]) {
    let mut expected: Vec<_> = expected.iter().map(AsRef::as_ref).collect();
    expected.sort_unstable();
    let holds = async {
        while names(balance) != expected {
            sleep(Duration::from_millis(1)).await;
        }
    };
    if timeout(Duration::from_secs(60), holds).await.is_err() {
        let (names, failing) = (names(balance), failing(balance));
        panic!("{names:?} did not become {expected:?}; failing: {failing:?}");
    }
}

/// The text of the last error of discovery, if it has not succeeded since.
pub fn failing(balance: &LoadBalance) -> Option<String> {
    let discovery = balance.status().discovery.unwrap();
    let last = discovery
        .last_error
        .filter(|_| discovery.failures_in_a_row > 0);
    last.map(|error| error.message)
}

/// Waits until discovery fails with an error that has this in its text.
pub async fn fails(balance: &LoadBalance, text: &str) {
    let holds = async {
        while !failing(balance).is_some_and(|error| error.contains(text)) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    if timeout(Duration::from_secs(60), holds).await.is_err() {
        panic!("no {text:?}, but {:?}", failing(balance));
    }
}

/// Servers that answer everything.
pub struct Servers {
    pub urls: Vec<String>,
    _tasks: JoinSet<()>,
}

impl Servers {
    pub async fn start(count: usize) -> Self {
        let (mut urls, mut tasks) = (Vec::new(), JoinSet::new());
        for nth in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            urls.push(format!("http://{}", listener.local_addr().unwrap()));
            let app = Router::new().fallback(move || async move { nth.to_string() });
            tasks.spawn(async move {
                let _ = axum::serve(listener, app).into_future().await;
            });
        }
        Self {
            urls,
            _tasks: tasks,
        }
    }
}

/// Clients that send one request after the other, of which each must be answered.
pub struct Load {
    done: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

impl Load {
    pub fn start(balance: &LoadBalance) -> Self {
        let mut load = Self {
            done: Arc::default(),
            sent: Arc::default(),
            clients: JoinSet::new(),
        };
        for _ in 0..4 {
            let (balance, done, sent) = (balance.clone(), load.done.clone(), load.sent.clone());
            load.clients.spawn(async move {
                while !done.load(Relaxed) {
                    let response = balance.clone().oneshot(Request::new(Body::empty())).await;
                    let response = response.expect("a request was lost");
                    assert_eq!(response.status(), StatusCode::OK);
                    response.into_body().collect().await.unwrap();
                    sent.fetch_add(1, Relaxed);
                    // The source needs a core, too.
                    sleep(Duration::from_micros(500)).await;
                }
            });
        }
        load
    }

    /// Waits until as many requests as this have been answered since now.
    pub async fn go_on(&self, requests: usize) {
        let goal = self.sent.load(Relaxed) + requests;
        eventually(|| self.sent.load(Relaxed) >= goal).await;
    }

    /// Stops, and fails if a request was lost.
    pub async fn stop(mut self) {
        self.done.store(true, Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        assert!(self.sent.load(Relaxed) > 0);
    }
}
