//! The flags of the command line, with their defaults. [`HELP`] describes each.

mod help;
mod listeners;
mod values;

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use axum_upstream::policy::Policy;

pub(crate) use self::help::HELP;
use self::{listeners::ListenerFlags, values::value};
use crate::{
    BoxError, discovery::DiscoverySource, limits::RateConfig, listen::ListenerConfig,
    log::RequestLog, workers::RuntimeKind,
};

/// The values of the flags. `None` is the library's default, or one that depends on the machine or on the version of
/// HTTP.
pub(crate) struct Options {
    /// Empty if none was asked for.
    pub(crate) listeners: Vec<ListenerConfig>,
    /// `None` serves no status page.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) upstreams: Vec<String>,
    pub(crate) discover: Vec<DiscoverySource>,
    /// Empty has the system's be asked.
    pub(crate) name_servers: Vec<SocketAddr>,
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
    pub(crate) max_per_address: PerAddress,
    /// `None` is no limit.
    pub(crate) rate: Option<RateConfig>,
    pub(crate) access_log: RequestLog,
    /// Whether the program only says what it would do.
    pub(crate) check: bool,
}

/// The largest number of connections of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PerAddress {
    /// Half of all, except for addresses of this machine.
    Half,
    /// This many.
    Most(usize),
    /// No limit.
    Off,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 9901))),
            upstreams: Vec::new(),
            discover: Vec::new(),
            name_servers: Vec::new(),
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
            max_per_address: PerAddress::Half,
            rate: None,
            access_log: RequestLog::Short,
            check: false,
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
        let mut listeners = ListenerFlags::default();
        let (mut rate, mut burst) = (None, None);
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
            if listeners.take(&flag, next)? {
                continue;
            }
            match flag.as_str() {
                "admin" => options.admin = value(next, &flag, values::address_or_off)?,
                "upstream" => options.upstreams.push(next.value()?.string()?),
                "discover" => options.discover.push(value(next, &flag, values::parsed)?),
                "dns-server" => options
                    .name_servers
                    .push(value(next, &flag, values::name_server)?),
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
                "max-connections-per-address" => {
                    options.max_per_address = value(next, &flag, values::per_address)?;
                }
                "rate-limit" => rate = Some(value(next, &flag, values::positive)?),
                "rate-burst" => burst = Some(value(next, &flag, values::positive)?),
                "check" => options.check = true,
                "access-log" => options.access_log = value(next, &flag, values::access_log)?,
                "help" => return Ok(None),
                _ => return Err(Long(&flag).unexpected().into()),
            }
        }
        if options.health_interval.is_some() && options.health_path.is_none() {
            return Err("--health-interval needs --health-path".into());
        }
        if !options.name_servers.is_empty() && options.discover.is_empty() {
            return Err("--dns-server needs --discover".into());
        }
        options.rate = rate_config(rate, burst)?;
        options.listeners = listeners.finish()?;
        Ok(Some(options))
    }
}

/// Returns the limit of the rate of requests. The burst is as large as the rate unless it is given.
fn rate_config(
    rate: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
) -> Result<Option<RateConfig>, BoxError> {
    match (rate, burst) {
        (None, Some(_)) => Err("--rate-burst needs --rate-limit".into()),
        (rate, burst) => Ok(rate.map(|per_second| RateConfig {
            per_second,
            burst: burst.unwrap_or(per_second),
        })),
    }
}
