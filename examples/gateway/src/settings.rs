//! What the flags mean to the library, and to the connections of clients.

use std::time::Duration;

use axum_upstream::{
    Error, HealthCheck, LoadBalance,
    balance::LoadBalanceBuilder,
    retry::{Hedge, Retry},
    upstream::{Client, ClientBuilder},
};

use crate::{
    connection::{ConnectionLimits, HeadLimits, QuietLimits},
    options::Options,
};

/// The default idle time between two requests over HTTP/1. It is longer than a load balancer in front keeps its idle
/// connections, which is a minute for many: otherwise it would send requests on connections that are being closed here.
pub(crate) const IDLE: Duration = Duration::from_secs(75);

/// The default idle time over HTTP/2, where a GOAWAY keeps a request that is on its way from being lost. The socket is
/// closed within a minute, the farewell included.
const HTTP2_IDLE: Duration = Duration::from_secs(50);

/// How long a request waits in the queue: longer than that, most clients would rather be told.
const QUEUE_DEADLINE: Duration = Duration::from_secs(1);

/// Returns the settings of the balancer.
///
/// # Errors
///
/// Returns an error that names the setting, if one cannot work.
pub(crate) fn balance(
    options: &Options,
    client: ClientBuilder,
) -> Result<LoadBalanceBuilder, Error> {
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
        .policy(options.policy.clone().unwrap_or_default())
        .client(client)
        .retry(retry)
        .hedge(hedge)
        .max_in_flight(options.max_in_flight.unwrap_or(usize::MAX))
        .queue(options.queue, QUEUE_DEADLINE);
    Ok(balance)
}

/// Returns the settings of the clients of all endpoints.
pub(crate) fn client(options: &Options, max_connections: usize) -> ClientBuilder {
    let mut client = Client::builder().max_connections(max_connections);
    if let Some(version) = options.send_proxy_protocol {
        client = client.proxy_protocol(version);
    }
    match options.connect_timeout {
        Some(timeout) => client.connect_timeout(timeout),
        None => client,
    }
}

/// Returns what a connection of a client may take.
pub(crate) fn limits(options: &Options) -> ConnectionLimits {
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
