//! Three servers that fail in turn, under a steady load, and what the balancer makes of it: one is killed, one answers
//! 503, one hangs. Clients see no error.
//!
//! Run with
//!
//! ```text
//! cargo run --example failing_servers
//! ```
//!
//! It prints a line per second, with the share of the answers and the availability of each server, and ends by itself
//! after 21 seconds. All settings are the defaults; `docs/RESILIENCE.md` explains them. A server that is killed or
//! answers 503 is ejected within half a second, unless half of the cluster is already. One that is ejected for answering
//! nothing is shown as silent.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, http::StatusCode};
use axum_upstream::{Body, BoxError, Info, LoadBalance, endpoint::Availability};
use http::Request;
use http_body_util::BodyExt;
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tower::ServiceExt;

/// The requests per second.
const RATE: u64 = 200;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut servers = [Server::new()?, Server::new()?, Server::new()?];
    let [ada, grace, edsger] = &mut servers;
    let urls = [ada, grace, edsger].map(|server| server.url());
    let backends = LoadBalance::new(&urls)?;
    let handle = backends.handle();

    let seen = Arc::new(Mutex::new(Seen::default()));
    let load = tokio::spawn(send_load(backends, seen.clone()));

    let [ada, grace, edsger] = &mut servers;
    println!("second | ada            grace          edsger         | answers  errors  slowest");
    let mut seconds = interval(Duration::from_secs(1));
    seconds.tick().await;
    for second in 1..=21 {
        let event = match second {
            3 => ada.kill("ada is killed"),
            7 => ada.revive("ada is started again")?,
            9 => grace.becomes(Mood::Unwell, "grace answers 503"),
            13 => grace.becomes(Mood::Well, "grace is well again"),
            15 => edsger.becomes(Mood::Hanging, "edsger answers nothing any more"),
            18 => edsger.becomes(Mood::Well, "edsger is well again"),
            _ => "",
        };
        if !event.is_empty() {
            println!("       | {event}");
        }
        seconds.tick().await;
        let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        let endpoints = handle.endpoints();
        let shares = endpoints.iter().map(|endpoint| {
            let count = seen.by_endpoint.get(&*endpoint.name).copied();
            let share = 100 * count.unwrap_or(0) / seen.answers.max(1);
            format!("{share:>3} % {:<9}", word(endpoint.availability))
        });
        println!(
            "{second:>6} | {}| {:>7} {:>7} {:>5} ms",
            shares.collect::<String>(),
            seen.answers,
            seen.errors,
            seen.slowest.as_millis()
        );
    }
    load.abort();
    for server in servers {
        server.stop();
    }
    Ok(())
}

/// What the clients have seen within a second.
#[derive(Default)]
struct Seen {
    by_endpoint: HashMap<String, u64>,
    answers: u64,
    errors: u64,
    slowest: Duration,
}

/// Sends a `GET` every five milliseconds, whether those before have been answered or not.
async fn send_load(backends: LoadBalance, seen: Arc<Mutex<Seen>>) {
    let mut ticks = interval(Duration::from_secs(1) / RATE as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        let (backends, seen) = (backends.clone(), seen.clone());
        tokio::spawn(async move {
            let sent = Instant::now();
            let endpoint = get(backends).await;
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match endpoint {
                Ok(endpoint) => {
                    seen.answers += 1;
                    *seen.by_endpoint.entry(endpoint).or_default() += 1;
                }
                Err(_) => seen.errors += 1,
            }
            seen.slowest = seen.slowest.max(sent.elapsed());
        });
    }
}

/// Sends one request, and returns the name of the endpoint whose answer the client got.
async fn get(backends: LoadBalance) -> Result<String, BoxError> {
    let response = backends.oneshot(Request::new(Body::empty())).await?;
    if response.status() != StatusCode::OK {
        return Err(response.status().to_string().into());
    }
    let info = response.extensions().get::<Info>();
    let endpoint = info.and_then(Info::endpoint).unwrap_or_default().to_owned();
    response.into_body().collect().await?;
    Ok(endpoint)
}

/// Returns an availability in a word.
fn word(availability: Availability) -> &'static str {
    match availability {
        Availability::Usable | Availability::Untested => "usable",
        Availability::Ejected { silent: true, .. } => "silent",
        Availability::Ejected { .. } => "ejected",
        Availability::Probation { .. } => "probation",
        _ => "other",
    }
}

/// How a server answers.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Unwell,
    Hanging,
}

/// A server with a runtime of its own, so that it can be killed with all its connections.
struct Server {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    /// `None` while it is dead.
    runtime: Option<Runtime>,
}

impl Server {
    /// Starts a server on a free port.
    fn new() -> Result<Self, BoxError> {
        let mut server = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            mood: watch::Sender::new(Mood::Well),
            runtime: None,
        };
        server.start()?;
        Ok(server)
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Listens on the address that it had, if it had one.
    fn start(&mut self) -> Result<(), BoxError> {
        let listener = TcpListener::bind(self.address)?;
        listener.set_nonblocking(true)?;
        self.address = listener.local_addr()?;
        let mood = self.mood.subscribe();
        let app = Router::new().fallback(async move || answer(mood.clone()).await);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, app).await
        });
        self.runtime = Some(runtime);
        Ok(())
    }

    /// Ends the server: connections are refused, and those that are open break.
    fn kill(&mut self, event: &'static str) -> &'static str {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        event
    }

    /// Starts the server again, on the same port.
    fn revive(&mut self, event: &'static str) -> Result<&'static str, BoxError> {
        self.start()?;
        Ok(event)
    }

    /// Changes how the server answers. Requests that hang are answered when it does so no longer.
    fn becomes(&self, mood: Mood, event: &'static str) -> &'static str {
        self.mood.send_replace(mood);
        event
    }

    fn stop(mut self) {
        self.kill("");
    }
}

/// Answers one request as the server's mood is.
async fn answer(mut mood: watch::Receiver<Mood>) -> (StatusCode, &'static str) {
    match mood.wait_for(|mood| *mood != Mood::Hanging).await {
        Ok(mood) if *mood == Mood::Well => (StatusCode::OK, "hello\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "not now\n"),
    }
}
