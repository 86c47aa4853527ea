//! Discovery by DNS, against a name server in this process.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary exports nothing, so the lint would have every `pub` be `pub(crate)`.
#![allow(unreachable_pub)]

mod addresses;
mod answers;
mod server;
mod services;
#[cfg(target_os = "linux")]
mod system;
mod wire;

use std::{
    future::{Future, IntoFuture},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{Router, extract::Request, http::header};
use axum_upstream::{Body, LoadBalance, discover::Dns, upstream::ClientBuilder};
use http_body_util::BodyExt;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tower::ServiceExt;

use self::server::NameServer;

/// A test that waits for something that never comes fails instead of hanging.
async fn within<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    timeout(limit, future).await.expect("nothing happened")
}

/// Waits until `condition` holds, which other tasks are about to bring about.
async fn eventually(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A name that is asked for again at once when its records have expired, of which the time to live is 0.
fn quick(dns: Dns, server: &NameServer) -> Dns {
    dns.name_server(server.address)
        .min_ttl(Duration::from_millis(5))
        .timeout(Duration::from_secs(5))
}

/// The names, weights and tiers of the endpoints, sorted.
fn endpoints(balance: &LoadBalance) -> Vec<(String, u32, u8)> {
    let endpoints = balance.status().endpoints;
    let mut all: Vec<_> = endpoints
        .iter()
        .map(|endpoint| (endpoint.name.to_string(), endpoint.weight, endpoint.tier))
        .collect();
    all.sort();
    all
}

fn names(balance: &LoadBalance) -> Vec<String> {
    endpoints(balance)
        .into_iter()
        .map(|(name, ..)| name)
        .collect()
}

/// The text of the last error of discovery.
fn last_error(balance: &LoadBalance) -> Option<String> {
    let error = balance.status().discovery.unwrap().last_error?;
    Some(error.message)
}

/// Servers at several addresses and one port, which answer with their address and the `Host` that they were sent.
struct Servers {
    port: u16,
    tasks: JoinSet<()>,
}

impl Servers {
    /// Starts one at 127.0.0.1 and as many as needed at the addresses that follow.
    async fn start(count: u8) -> Self {
        let listeners = loop {
            let first = TcpListener::bind((host(1), 0)).await.unwrap();
            let port = first.local_addr().unwrap().port();
            let mut listeners = vec![first];
            for nth in 2..=count {
                listeners.extend(TcpListener::bind((host(nth), port)).await.ok());
            }
            // The port may be in use at one of them.
            if listeners.len() == usize::from(count) {
                break listeners;
            }
        };
        let port = listeners[0].local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        for listener in listeners {
            let ip = listener.local_addr().unwrap().ip();
            let app = Router::new().fallback(move |request: Request| async move {
                let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
                format!("{ip} {host}")
            });
            tasks.spawn(async move {
                let _ = axum::serve(listener, app).into_future().await;
            });
        }
        Self { port, tasks }
    }

    /// The name of the endpoint at one of them.
    fn name(&self, nth: u8) -> String {
        format!("http://{}", SocketAddr::from((host(nth), self.port)))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

/// A loopback address.
fn host(nth: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, nth)
}

/// Sends a request, and returns who answered and the `Host` that arrived there.
async fn send(balance: &LoadBalance) -> (IpAddr, String) {
    let response = balance
        .clone()
        .oneshot(http::Request::new(Body::empty()))
        .await;
    let body = response
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let (ip, host) = text.split_once(' ').unwrap();
    (ip.parse().unwrap(), host.to_owned())
}

/// The settings of clients whose first connection decides.
fn impatient() -> ClientBuilder {
    ClientBuilder::default().connect_timeout(Duration::from_secs(1))
}
