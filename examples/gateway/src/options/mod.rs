//! What can be set, with the defaults: by the flags of the command line, which [`HELP`] describes, and by the section
//! `[gateway]` of a file.

mod command_line;
mod help;
mod listeners;
mod section;
mod values;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum_upstream::{
    config::{Config, ConfigFile},
    policy::Policy,
    upstream::ProxyProtocol,
};

pub(crate) use self::{help::HELP, listeners::ListenerOverrides, section::GatewayConfig};
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
    /// What flags say of all listeners, wherever they come from.
    pub(crate) overrides: ListenerOverrides,
    /// `None` serves no status page.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) upstreams: Vec<String>,
    pub(crate) discover: Vec<DiscoverySource>,
    /// Empty has the system's be asked.
    pub(crate) name_servers: Vec<SocketAddr>,
    pub(crate) policy: Option<Policy>,
    pub(crate) workers: Option<usize>,
    pub(crate) runtime: RuntimeKind,
    pub(crate) send_proxy_protocol: Option<ProxyProtocol>,
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
    /// The bytes of the cache. `None` is no cache.
    pub(crate) cache: Option<u64>,
    pub(crate) access_log: RequestLog,
    /// Whether the program only says what it would do.
    pub(crate) check: bool,
}

/// A configuration file.
pub(crate) struct ConfiguredFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its clusters and routes, as they were when the program started.
    pub(crate) config: Config,
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
            overrides: ListenerOverrides::default(),
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 9901))),
            upstreams: Vec::new(),
            discover: Vec::new(),
            name_servers: Vec::new(),
            policy: None,
            workers: None,
            runtime: RuntimeKind::default(),
            send_proxy_protocol: None,
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
            cache: None,
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
        let config = file.config()?;
        let mut options = Self::default();
        section.apply(&mut options);
        options.config = Some(ConfiguredFile {
            path,
            config,
            section,
        });
        // Once more: flags take the place of what the file says.
        Ok(options.with_flags()?.map(|(options, _)| options))
    }
}
