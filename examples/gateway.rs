//! A load-balancing reverse proxy as a program. Run with
//!
//! ```text
//! cargo run --release --example gateway
//! cargo run --release --example gateway -- --upstream http://127.0.0.1:5000 --upstream http://127.0.0.1:5001
//! ```
//!
//! Without `--upstream` it starts three small servers of its own, so that a browser on <http://127.0.0.1:8080> shows
//! the balancing on each reload. `--help` lists the flags.

use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt,
    io::{self, IsTerminal},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::Request as AxumRequest, extract::State};
use axum_upstream::{
    Error, Info, LoadBalance, ReverseProxy,
    policy::{ConsistentHash, LeastRequest, P2c, Policy, Random, RoundRobin, Sticky},
    upstream::Client,
};
use http::{Method, Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::TcpListener,
    runtime,
    time::{Instant, sleep, timeout},
};
use tower::Service;
use tracing::Level;

/// The system's allocator gives memory back and takes it again under load; this one costs a third less per request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HELP: &str = "\
A load-balancing reverse proxy.

  --listen ADDR            where to listen [default: 127.0.0.1:8080]
  --upstream URL           a server to send to, any number of times: http://, https://, h2c:// or
                           unix:/path, with an optional ;weight=N [default: three demo servers]
  --policy NAME            p2c, p2c-in-flight, round-robin, least-request, random, hash-ip or sticky
                           [default: p2c]
  --workers N              threads of the runtime [default: one per core]
  --connect-timeout DUR    longest time to connect, like 1s or 500ms [default: 5s]
  --response-timeout DUR   longest time to a response head [default: 60s]
  --help                   this text

RUST_LOG rules the log: RUST_LOG=warn turns off the line per request.";

/// How long requests in flight may take after a signal.
const GRACE: Duration = Duration::from_secs(10);

type BoxError = Box<dyn StdError + Send + Sync>;
type Proxy = ReverseProxy<LoadBalance>;

struct Options {
    listen: SocketAddr,
    upstreams: Vec<String>,
    policy: Policy,
    workers: Option<usize>,
    connect_timeout: Option<Duration>,
    response_timeout: Option<Duration>,
}

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(2, &error),
    };
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(Level::INFO.into())
        .from_env_lossy();
    let ansi = io::stdout().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(ansi)
        .init();

    let mut runtime = match options.workers {
        // One thread needs no other's help, and does without the locks for it.
        Some(1) => runtime::Builder::new_current_thread(),
        _ => runtime::Builder::new_multi_thread(),
    };
    if let Some(workers) = options.workers {
        runtime.worker_threads(workers);
    }
    match runtime.enable_all().build() {
        Ok(runtime) => match runtime.block_on(run(options)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Usage(error)) => fail(2, &error),
            Err(Failure::Run(error)) => fail(1, &error),
        },
        Err(error) => fail(1, &error.into()),
    }
}

/// One line, causes included.
fn fail(code: u8, error: &BoxError) -> ExitCode {
    let mut line = format!("gateway: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_line = cause.to_string();
        // Some errors repeat their cause.
        if !line.ends_with(&cause_line) {
            line = format!("{line}: {cause_line}");
        }
        source = cause.source();
    }
    eprintln!("{line}");
    ExitCode::from(code)
}

enum Failure {
    Usage(BoxError),
    Run(BoxError),
}

async fn run(options: Options) -> Result<(), Failure> {
    let mut upstreams = options.upstreams;
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.map_err(|error| {
        Failure::Run(format!("cannot listen on {}: {error}", options.listen).into())
    })?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::Run(error.into()))?;
    if upstreams.is_empty() {
        upstreams = demo_servers().await.map_err(Failure::Run)?;
    }

    let mut client = Client::builder();
    if let Some(timeout) = options.connect_timeout {
        client = client.connect_timeout(timeout);
    }
    let balance = LoadBalance::builder()
        .policy(options.policy)
        .client(client)
        .urls(&upstreams);
    let balance = balance.map_err(|error| Failure::Usage(error.into()))?;
    let handle = balance.handle();
    let mut proxy = ReverseProxy::new(balance);
    if let Some(timeout) = options.response_timeout {
        proxy = proxy.response_timeout(timeout);
    }

    println!("listening on http://{address}");
    for endpoint in handle.endpoints() {
        println!("  -> {} (weight {})", endpoint.name, endpoint.weight);
    }
    println!("try: curl -i http://{address}/hello");
    serve(listener, proxy, shutdown_signal()).await;
    Ok(())
}

/// Accepts until the signal, then lets what is in flight finish.
async fn serve(listener: TcpListener, proxy: Proxy, signal: impl Future<Output = ()>) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    // Without a timer hyper has no limit for slow heads.
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    let graceful = GracefulShutdown::new();
    tokio::pin!(signal);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut signal => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely out of file descriptors: give others time to close theirs.
                tracing::warn!(%error, "cannot accept");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let proxy = proxy.clone().client_addr(peer);
        let service = service_fn(move |request| answer(proxy.clone(), request));
        let connection = server
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, error, "connection ended early");
            }
        });
    }
    drop(listener);
    println!("stopping; requests in flight have {} s", GRACE.as_secs());
    if timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
}

/// Forwards one request, and logs it.
async fn answer(
    mut proxy: Proxy,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if !tracing::enabled!(Level::INFO) {
        return proxy.call(request).await;
    }
    let mut line = LogLine::new(&request);
    let response = proxy.call(request).await?;
    let answered = response.extensions().get::<Info>().and_then(Info::endpoint);
    let failed = response
        .extensions()
        .get::<Arc<Error>>()
        .and_then(|error| error.endpoint());
    line.status = response.status().as_u16();
    line.endpoint = answered.or(failed).map(ToOwned::to_owned);
    Ok(response)
}

/// One line per request, written when it is dropped: a client that goes away drops the request it waits for.
struct LogLine {
    method: Method,
    path: String,
    start: Instant,
    endpoint: Option<String>,
    status: u16,
}

impl LogLine {
    fn new<B>(request: &Request<B>) -> Self {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        // What nginx logs for a client that did not wait.
        Self {
            method,
            path,
            start: Instant::now(),
            endpoint: None,
            status: 499,
        }
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let Self {
            method,
            path,
            start,
            endpoint,
            status,
        } = self;
        let endpoint = endpoint.as_deref().unwrap_or("-");
        tracing::info!(%method, path, endpoint, status, time = ?start.elapsed());
    }
}

async fn shutdown_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
            return;
        }
    }
    let _ = interrupt.await;
}

/// Three servers on free ports that answer with their name and what they received.
async fn demo_servers() -> Result<Vec<String>, BoxError> {
    let mut urls = Vec::new();
    for name in ["ada", "grace", "edsger"] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        urls.push(format!("http://{}", listener.local_addr()?));
        let app = Router::new().fallback(describe).with_state(name);
        tokio::spawn(async move { axum::serve(listener, app).await });
    }
    Ok(urls)
}

async fn describe(State(name): State<&'static str>, request: AxumRequest) -> String {
    use fmt::Write;

    let mut text = format!("I am {name}.\n\n{} {}\n", request.method(), request.uri());
    for (field, value) in request.headers() {
        let _ = writeln!(
            text,
            "{field}: {}",
            String::from_utf8_lossy(value.as_bytes())
        );
    }
    text
}

impl Options {
    /// None when help was asked for.
    fn parse() -> Result<Option<Self>, BoxError> {
        use lexopt::prelude::*;

        let mut options = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            upstreams: Vec::new(),
            policy: Policy::default(),
            workers: None,
            connect_timeout: None,
            response_timeout: None,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("listen") => options.listen = value(&mut parser, "--listen", parse_address)?,
                Long("upstream") => options.upstreams.push(parser.value()?.string()?),
                Long("policy") => options.policy = value(&mut parser, "--policy", parse_policy)?,
                Long("workers") => {
                    options.workers = Some(value(&mut parser, "--workers", parse_workers)?)
                }
                Long("connect-timeout") => {
                    options.connect_timeout =
                        Some(value(&mut parser, "--connect-timeout", parse_duration)?);
                }
                Long("response-timeout") => {
                    options.response_timeout =
                        Some(value(&mut parser, "--response-timeout", parse_duration)?);
                }
                Long("help") | Short('h') => return Ok(None),
                _ => return Err(argument.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}

/// The value of a flag, or an error that names it.
fn value<T>(
    parser: &mut lexopt::Parser,
    flag: &str,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<T, BoxError> {
    let text = parser
        .value()?
        .into_string()
        .map_err(|_| format!("{flag} is not Unicode"))?;
    parse(&text).map_err(|wrong| format!("{flag} {text}: {wrong}").into())
}

fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "must be an address and a port, like 127.0.0.1:8080")
}

fn parse_policy(name: &str) -> Result<Policy, &'static str> {
    Ok(match name {
        "p2c" => P2c::new().into(),
        "p2c-in-flight" => P2c::in_flight().into(),
        "round-robin" => RoundRobin.into(),
        "least-request" => LeastRequest.into(),
        "random" => Random.into(),
        "hash-ip" => ConsistentHash::client_addr().into(),
        "sticky" => Sticky::cookie("gateway")
            .map_err(|_| "is not possible")?
            .into(),
        _ => {
            return Err(
                "must be p2c, p2c-in-flight, round-robin, least-request, random, hash-ip or sticky",
            );
        }
    })
}

fn parse_workers(text: &str) -> Result<usize, &'static str> {
    text.parse()
        .ok()
        .filter(|workers| *workers > 0)
        .ok_or("must be 1 or more")
}

fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let wrong = "must be a number and a unit, like 1s or 500ms";
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong)?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or(wrong),
        _ => Err(wrong),
    }
}
