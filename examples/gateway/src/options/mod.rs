//! The flags of the command line, with their defaults. [`HELP`] describes each.

mod values;

use std::{net::SocketAddr, time::Duration};

use axum_upstream::policy::Policy;

use self::values::value;
use crate::{BoxError, log::RequestLog, workers::RuntimeKind};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
A load-balancing reverse proxy.

  --listen ADDR            where to listen [default: 127.0.0.1:8080]
  --admin ADDR             where to serve the status page and /metrics, or off
                           [default: 127.0.0.1:9901]
  --upstream URL           a server to send to, any number of times: http://, https://, h2c:// or
                           unix:/path, with an optional ;weight=N [default: three demo servers]
  --policy NAME            p2c, p2c-in-flight, round-robin, least-request, random, hash-ip or sticky
                           [default: p2c]
  --workers N              threads that serve [default: one per core]
  --runtime KIND           per-core: each thread has connections of its own, as the kernel deals them out
                           (Linux only); multi-thread: the threads share all connections
                           [default: per-core on Linux]
  --connect-timeout DUR    longest time to connect, like 1s or 500ms [default: 5s]
  --response-timeout DUR   longest time to a response head [default: 60s]
  --head-timeout DUR       longest time in which a request head must have arrived [default: 30s]
  --idle-timeout DUR       longest time between two requests of a connection [default: 75s; 50s
                           over HTTP/2]
  --write-timeout DUR      longest time in which a client takes nothing of its response [default: 60s]
  --health-path PATH       check each server by a GET of this path, like /healthz: two failures in a
                           row shut it, one success opens it [default: no checks]
  --health-interval DUR    time between two checks of a server [default: 15s]
  --retries N              how often a request is sent again, to another server, if that is safe; 0 turns
                           it off [default: 1]
  --per-try-timeout DUR    longest time of one attempt to its response head [default: none]
  --hedge-after DUR        ask a second server if the first has not answered by then [default: never]
  --max-in-flight N        most requests in flight at each server [default: no limit]
  --queue N                most requests that wait while all servers are full, for 1s each; needs
                           --max-in-flight [default: 0]
  --drain-timeout DUR      longest time for requests in flight and for tunnels after a signal
                           [default: 10s; --grace is the same]
  --max-head SIZE          largest request head, like 64KiB [default: 64KiB]
  --max-fields N           most fields of a request head [default: 256]
  --max-connections N      most connections of clients [default: 3/4 of the files that may be open]
  --access-log FORMAT      json or common: a line on standard output when a request has ended, and all
                           else that is logged on standard error; off: no lines per request
                           [default: a short line at the response head]
  --help                   this text

RUST_LOG rules the log: RUST_LOG=warn turns off the short line per request.";

/// The values of the flags. `None` is the library's default, or one that depends on the machine or on the version of
/// HTTP.
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    /// `None` serves no status page.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) upstreams: Vec<String>,
    pub(crate) policy: Policy,
    pub(crate) workers: Option<usize>,
    pub(crate) runtime: RuntimeKind,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) response_timeout: Option<Duration>,
    pub(crate) head_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) write_timeout: Duration,
    pub(crate) health_path: Option<String>,
    pub(crate) health_interval: Option<Duration>,
    pub(crate) retries: Option<u32>,
    pub(crate) per_try_timeout: Option<Duration>,
    pub(crate) hedge_after: Option<Duration>,
    pub(crate) max_in_flight: Option<usize>,
    pub(crate) queue: usize,
    pub(crate) drain_timeout: Duration,
    pub(crate) max_head: usize,
    pub(crate) max_fields: usize,
    pub(crate) max_connections: Option<usize>,
    pub(crate) access_log: RequestLog,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 9901))),
            upstreams: Vec::new(),
            policy: Policy::default(),
            workers: None,
            runtime: RuntimeKind::default(),
            connect_timeout: None,
            response_timeout: None,
            head_timeout: Duration::from_secs(30),
            idle_timeout: None,
            write_timeout: Duration::from_secs(60),
            health_path: None,
            health_interval: None,
            retries: None,
            per_try_timeout: None,
            hedge_after: None,
            max_in_flight: None,
            queue: 0,
            drain_timeout: Duration::from_secs(10),
            max_head: 64 << 10,
            max_fields: 256,
            max_connections: None,
            access_log: RequestLog::Short,
        }
    }
}

impl Options {
    /// Reads the command line. Returns `None` if help was asked for.
    ///
    /// # Errors
    ///
    /// Returns an error that names the flag, if one is not known, its value does not fit, or it is of no use alone.
    pub(crate) fn parse() -> Result<Option<Self>, BoxError> {
        use lexopt::prelude::*;

        let mut options = Self::default();
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            let Long(flag) = argument else {
                return match argument {
                    Short('h') => Ok(None),
                    _ => Err(argument.unexpected().into()),
                };
            };
            let flag = flag.to_owned();
            let next = &mut parser;
            match flag.as_str() {
                "listen" => options.listen = value(next, &flag, values::address)?,
                "admin" => options.admin = value(next, &flag, values::address_or_off)?,
                "upstream" => options.upstreams.push(next.value()?.string()?),
                "policy" => options.policy = value(next, &flag, values::policy)?,
                "workers" => options.workers = Some(value(next, &flag, values::count)?),
                "runtime" => options.runtime = value(next, &flag, values::runtime)?,
                "connect-timeout" => {
                    options.connect_timeout = Some(value(next, &flag, values::duration)?);
                }
                "response-timeout" => {
                    options.response_timeout = Some(value(next, &flag, values::duration)?);
                }
                "head-timeout" => options.head_timeout = value(next, &flag, values::duration)?,
                "idle-timeout" => {
                    options.idle_timeout = Some(value(next, &flag, values::duration)?);
                }
                "write-timeout" => options.write_timeout = value(next, &flag, values::duration)?,
                "health-path" => options.health_path = Some(next.value()?.string()?),
                "health-interval" => {
                    options.health_interval = Some(value(next, &flag, values::time)?);
                }
                "retries" => options.retries = Some(value(next, &flag, values::number)?),
                "per-try-timeout" => {
                    options.per_try_timeout = Some(value(next, &flag, values::time)?);
                }
                "hedge-after" => options.hedge_after = Some(value(next, &flag, values::time)?),
                "max-in-flight" => {
                    options.max_in_flight = Some(value(next, &flag, values::count)?);
                }
                "queue" => options.queue = value(next, &flag, values::number)? as usize,
                "drain-timeout" | "grace" => {
                    options.drain_timeout = value(next, &flag, values::duration)?;
                }
                "max-head" => options.max_head = value(next, &flag, values::size)?,
                "max-fields" => options.max_fields = value(next, &flag, values::count)?,
                "max-connections" => {
                    options.max_connections = Some(value(next, &flag, values::count)?);
                }
                "access-log" => options.access_log = value(next, &flag, values::access_log)?,
                "help" => return Ok(None),
                _ => return Err(Long(&flag).unexpected().into()),
            }
        }
        if options.health_interval.is_some() && options.health_path.is_none() {
            return Err("--health-interval needs --health-path".into());
        }
        Ok(Some(options))
    }
}
