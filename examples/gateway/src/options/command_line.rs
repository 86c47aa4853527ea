//! Reads the flags of the command line.

use std::{num::NonZeroU32, path::PathBuf};

use axum_upstream::config::Switch;

use super::{
    Options,
    listeners::ListenerFlags,
    values::{self, value},
};
use crate::{BoxError, limits::RateConfig};

impl Options {
    /// Returns a flag that was given and that a file has a place of its own for.
    pub(super) fn flag_of_cluster(&self) -> Option<&'static str> {
        let Self {
            upstreams,
            discover,
            send_proxy_protocol,
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
            ("--send-proxy-protocol", send_proxy_protocol.is_some()),
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

    /// Puts the values of flags in the place of those that are there. Also returns the value of `--config`, or nothing
    /// if help was asked for.
    pub(super) fn with_flags(self) -> Result<Option<(Self, Option<PathBuf>)>, BoxError> {
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
                "send-proxy-protocol" => {
                    options.send_proxy_protocol = Some(value(next, &flag, values::proxy_protocol)?);
                }
                "connect-timeout" => {
                    options.connect_timeout = Some(value(next, &flag, values::duration)?);
                }
                "response-timeout" => {
                    options.response_timeout = Some(value(next, &flag, values::duration)?);
                }
                "head-timeout" => options.head_timeout = value(next, &flag, values::time)?,
                "idle-timeout" => options.idle_timeout = Some(value(next, &flag, values::time)?),
                "write-timeout" => options.write_timeout = value(next, &flag, values::time)?,
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
                "rate-limit" => rate = Some(value(next, &flag, values::positive_or_off)?),
                "rate-burst" => burst = Some(value(next, &flag, values::positive)?),
                "cache" => options.cache = Some(value(next, &flag, values::size)? as u64),
                "check" => options.check = true,
                "access-log" => options.access_log = value(next, &flag, values::access_log)?,
                "help" => return Ok(None),
                _ => return Err(Long(&flag).unexpected().into()),
            }
        }
        // Flags may need something that the file says.
        if file.is_some() && options.config.is_none() {
            return Ok(Some((options, file)));
        }
        if options.health_interval.is_some() && options.health_path.is_none() {
            return Err("--health-interval needs --health-path".into());
        }
        if !options.name_servers.is_empty() && options.discover.is_empty() {
            return Err("--dns-server needs --discover".into());
        }
        options.rate = rate_config(options.rate, rate, burst)?;
        (options.listeners, options.overrides) = listeners.finish(options.listeners)?;
        Ok(Some((options, file)))
    }
}

/// Returns the limit of the rate of requests: what the file says, with the values of flags in the place of its own.
fn rate_config(
    said: Option<RateConfig>,
    rate: Option<Switch<NonZeroU32>>,
    burst: Option<NonZeroU32>,
) -> Result<Option<RateConfig>, BoxError> {
    let rate = match rate {
        Some(rate) => rate.on(),
        None => said.map(|said| said.per_second),
    };
    match (rate, burst) {
        (None, Some(_)) => Err("--rate-burst needs --rate-limit".into()),
        (rate, burst) => {
            let burst = burst.or(said.and_then(|said| said.burst));
            Ok(rate.map(|rate| RateConfig::new(rate, burst)))
        }
    }
}
