//! A load-balancing reverse proxy as a program. Run with
//!
//! ```text
//! cargo run --release -p gateway
//! cargo run --release -p gateway -- --upstream http://127.0.0.1:5000 --upstream http://127.0.0.1:5001
//! ```
//!
//! Without `--upstream` it starts three small servers of its own, so that a browser on <http://127.0.0.1:8080> shows
//! the balancing on each reload. `--help` lists the flags.

mod admin;
mod connection;
mod demo;
mod files;
mod listen;
mod log;
mod options;
mod places;
mod serve;
mod workers;

use std::{error::Error as StdError, process::ExitCode, sync::Arc, time::Duration};

use axum_upstream::{
    Error, HealthCheck, LoadBalance, ReverseProxy,
    access_log::AccessLogLayer,
    balance::LoadBalanceBuilder,
    retry::{Hedge, Retry},
    upstream::{Client, ClientBuilder},
};

use crate::{
    admin::Admin,
    connection::{ConnectionLimits, HeadLimits, QuietLimits, Server},
    files::Connections,
    log::RequestLog,
    options::Options,
    serve::Gateway,
};

/// The system's allocator returns memory to the system and takes it again under load. This one costs a third less per
/// request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The default idle time between two requests over HTTP/1. It is longer than a load balancer in front keeps its idle
/// connections, which is a minute for many: otherwise it would send requests on connections that are being closed here.
const IDLE: Duration = Duration::from_secs(75);

/// The default idle time over HTTP/2, where a GOAWAY keeps a request that is on its way from being lost. The socket is
/// closed within a minute, the farewell included.
const HTTP2_IDLE: Duration = Duration::from_secs(50);

/// How long a request waits in the queue: longer than that, most clients would rather be told.
const QUEUE_DEADLINE: Duration = Duration::from_secs(1);

type BoxError = Box<dyn StdError + Send + Sync>;

/// Parses the flags, starts the log and the runtime, and runs the program. The exit status is 0, 1 if it could not run,
/// or 2 if a flag is wrong.
fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(2, &error),
    };
    let lines = match log::start(options.access_log) {
        Ok(lines) => lines,
        Err(error) => return fail(1, &error.into()),
    };

    let code = match options.runtime.main_runtime(options.workers) {
        Ok(runtime) => match runtime.block_on(run(options)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Usage(error)) => fail(2, &error),
            Err(Failure::Run(error)) => fail(1, &error),
        },
        Err(error) => fail(1, &error.into()),
    };
    lines.flush();
    code
}

/// Prints an error with its causes in one line, and returns the exit status.
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

/// Why the program could not run.
enum Failure {
    /// A flag is wrong.
    Usage(BoxError),
    /// The system refused something.
    Run(BoxError),
}

/// Listens, sets up the proxy, and serves until a signal.
async fn run(options: Options) -> Result<(), Failure> {
    let count = options.runtime.listeners(options.workers);
    let listeners = listen::bind(options.listen, count, options.write_timeout);
    let listeners = listeners.and_then(|all| Ok((all[0].local_addr()?, all)));
    let (address, listeners) = listeners.map_err(|error| {
        Failure::Run(format!("cannot listen on {}: {error}", options.listen).into())
    })?;
    let upstreams = match options.upstreams.is_empty() {
        true => demo::servers().await.map_err(Failure::Run)?,
        false => options.upstreams.clone(),
    };
    let admin = match options.admin {
        Some(address) => Admin::bind(address)
            .await
            // The proxy works without it.
            .inspect_err(|error| tracing::warn!(%error, "no status page on {address}"))
            .ok(),
        None => None,
    };
    let connections = Connections::share(options.max_connections, upstreams.len(), count);
    let client = client(&options, connections.per_endpoint);
    let balance = balance(&options, client).and_then(|balance| balance.urls(&upstreams));
    let balance = balance.map_err(|error| Failure::Usage(error.into()))?;
    let handle = balance.handle();
    let status = admin.as_ref().map(Admin::address);
    // Ends with this function.
    let _admin = admin.map(|admin| admin.serve(&balance));
    let mut proxy = ReverseProxy::new(balance);
    if let Some(timeout) = options.response_timeout {
        proxy = proxy.response_timeout(timeout);
    }

    let access_log = match options.access_log {
        RequestLog::Access(format) => Some(AccessLogLayer::new(format)),
        RequestLog::Short | RequestLog::Off => None,
    };
    let access_log = access_log.transpose();

    println!("listening on http://{address}");
    for endpoint in handle.endpoints() {
        println!("  -> {} (weight {})", endpoint.name, endpoint.weight);
    }
    println!("try: curl -i http://{address}/hello");
    if let Some(status) = status {
        println!("status: http://{status}/ (and /metrics)");
    }
    let gateway = Gateway {
        proxy,
        server: Arc::new(Server::new(limits(&options))),
        places: connections.clients,
        idle: options.idle_timeout.unwrap_or(IDLE),
        drain_timeout: options.drain_timeout,
        short_lines: options.access_log == RequestLog::Short,
        access_log: access_log.map_err(|error| Failure::Run(error.into()))?,
    };
    let served = gateway.serve(listeners, serve::shutdown_signal()).await;
    served.map_err(|error| Failure::Run(error.into()))
}

/// Returns the settings of the balancer.
///
/// # Errors
///
/// Returns an error that names the setting, if one cannot work.
fn balance(options: &Options, client: ClientBuilder) -> Result<LoadBalanceBuilder, Error> {
    let mut retry = Retry::default();
    if let Some(retries) = options.retries {
        retry = retry.attempts(retries.saturating_add(1))?;
    }
    if let Some(timeout) = options.per_try_timeout {
        retry = retry.per_try_timeout(timeout)?;
    }
    let hedge = options.hedge_after.map(Hedge::after).transpose()?;
    let mut balance = LoadBalance::builder();
    if let Some(path) = &options.health_path {
        let mut check = HealthCheck::http(path)?;
        if let Some(interval) = options.health_interval {
            check = check.interval(interval)?;
        }
        balance = balance.health_check(check);
    }
    let balance = balance
        .policy(options.policy.clone())
        .client(client)
        .retry(retry)
        .hedge(hedge)
        .max_in_flight(options.max_in_flight.unwrap_or(usize::MAX))
        .queue(options.queue, QUEUE_DEADLINE);
    Ok(balance)
}

/// Returns the settings of the clients of all endpoints.
fn client(options: &Options, max_connections: usize) -> ClientBuilder {
    let client = Client::builder().max_connections(max_connections);
    match options.connect_timeout {
        Some(timeout) => client.connect_timeout(timeout),
        None => client,
    }
}

/// Returns what a connection of a client may take.
fn limits(options: &Options) -> ConnectionLimits {
    ConnectionLimits {
        quiet: QuietLimits {
            head: options.head_timeout,
            idle: options.idle_timeout.unwrap_or(IDLE),
        },
        http2_idle: options.idle_timeout.unwrap_or(HTTP2_IDLE),
        head: HeadLimits {
            bytes: options.max_head,
            fields: options.max_fields,
        },
        stalled: options.write_timeout,
    }
}
