//! The flags of the command line, with their defaults. [`HELP`] describes each.

mod help;
mod listeners;
mod section;
mod values;

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use axum_upstream::{config::ConfigFile, policy::Policy};

pub(crate) use self::{help::HELP, section::GatewayConfig};
use self::{listeners::ListenerFlags, values::value};
use crate::{
    BoxError, discovery::DiscoverySource, limits::RateConfig, listen::ListenerConfig,
    log::RequestLog, workers::RuntimeKind,
};

/// The values of the flags. `None` is the library's default, or one that depends on the machine or on the version of
/// HTTP.
pub(crate) struct Options {
    /// The file with clusters and routes.
    pub(crate) config: Option<ConfiguredFile>,
    /// Empty if none was asked for.
    pub(crate) listeners: Vec<ListenerConfig>,
    /// `None` serves no status page.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) upstreams: Vec<String>,
    pub(crate) discover: Vec<DiscoverySource>,
    /// Empty has the system's be asked.
    pub(crate) name_servers: Vec<SocketAddr>,
    pub(crate) policy: Option<Policy>,
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

/// A configuration file.
pub(crate) struct ConfiguredFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its section `[gateway]`, as it was when the program started.
    pub(crate) section: GatewayConfig,
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
            config: None,
            listeners: Vec::new(),
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 9901))),
            upstreams: Vec::new(),
            discover: Vec::new(),
            name_servers: Vec::new(),
            policy: None,
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
    /// Reads the command line, and the file that it names. Returns `None` if help was asked for.
    ///
    /// # Errors
    ///
    /// Returns an error that names the flag, if one is not known, its value does not fit, or it is of no use alone; or
    /// everything that is wrong with the file.
    pub(crate) fn parse() -> Result<Option<Self>, BoxError> {
        let Some((flags, file)) = Self::default().with_flags()? else {
            return Ok(None);
        };
        let Some(path) = file else {
            return Ok(Some(flags));
        };
        if let Some(flag) = flags.flag_of_cluster() {
            return Err(format!("{flag} is said in the file of --config, in a cluster").into());
        }
        let mut file = ConfigFile::read(&path)?;
        let section = GatewayConfig::read(&mut file, &path);
        file.config()?;
        let mut options = Self::default();
        section.apply(&mut options);
        options.config = Some(ConfiguredFile { path, section });
        // Once more: flags take the place of what the file says.
        Ok(options.with_flags()?.map(|(options, _)| options))
    }

    /// Returns a flag that was given and that a file has a place of its own for.
    fn flag_of_cluster(&self) -> Option<&'static str> {
        let Self {
            upstreams,
            discover,
            connect_timeout,
            response_timeout,
            health_path,
            retries,
            per_try_timeout,
            hedge_after,
            max_in_flight,
            ..
        } = self;
        let given = [
            ("--upstream", !upstreams.is_empty()),
            ("--discover", !discover.is_empty()),
            ("--policy", self.policy.is_some()),
            ("--connect-timeout", connect_timeout.is_some()),
            ("--response-timeout", response_timeout.is_some()),
            ("--health-path", health_path.is_some()),
            ("--retries", retries.is_some()),
            ("--per-try-timeout", per_try_timeout.is_some()),
            ("--hedge-after", hedge_after.is_some()),
            ("--max-in-flight", max_in_flight.is_some()),
            ("--queue", self.queue > 0),
        ];
        given
            .iter()
            .find(|(_, given)| *given)
            .map(|(flag, _)| *flag)
    }

    /// Puts the values of flags in the place of those that are there. Also returns the value of `--config`, or nothing if
    /// help was asked for.
    fn with_flags(self) -> Result<Option<(Self, Option<PathBuf>)>, BoxError> {
        use lexopt::prelude::*;

        let mut options = self;
        let (mut file, mut listeners) = (None, ListenerFlags::default());
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
                "config" => file = Some(PathBuf::from(next.value()?)),
                "admin" => options.admin = value(next, &flag, values::address_or_off)?,
                "upstream" => options.upstreams.push(next.value()?.string()?),
                "discover" => options.discover.push(value(next, &flag, values::parsed)?),
                "dns-server" => options
                    .name_servers
                    .push(value(next, &flag, values::name_server)?),
                "policy" => options.policy = Some(value(next, &flag, values::policy)?),
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
        options.rate = rate_config(rate, burst)?.or(options.rate);
        let listeners = listeners.finish()?;
        if !listeners.is_empty() {
            options.listeners = listeners;
        }
        Ok(Some((options, file)))
    }
}

/// Returns the limit of the rate of requests.
fn rate_config(
    rate: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
) -> Result<Option<RateConfig>, BoxError> {
    match (rate, burst) {
        (None, Some(_)) => Err("--rate-burst needs --rate-limit".into()),
        (rate, burst) => Ok(rate.map(|rate| RateConfig::new(rate, burst))),
    }
}
