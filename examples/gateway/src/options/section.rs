//! The section `[gateway]` of a configuration file: the values of flags, as data.

use std::{net::SocketAddr, num::NonZeroU32, path::Path};

use axum_upstream::{
    access_log::AccessLogFormat,
    config::{ConfigFile, HumanDuration, HumanSize, Switch},
};
use serde::Deserialize;

use super::{Options, PerAddress};
use crate::{
    limits::RateConfig,
    listen::{HttpsRedirectConfig, ListenerConfig},
    log::RequestLog,
    workers::RuntimeKind,
};

/// The key of the section.
pub(crate) const SECTION: &str = "gateway";

/// What the section says. Each setting has the name, the meaning and the default of its flag, and `false` is `off`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GatewayConfig {
    pub(crate) listeners: Vec<ListenerConfig>,
    admin: Option<Switch<SocketAddr>>,
    workers: Option<NonZeroU32>,
    runtime: Option<RuntimeKind>,
    head_timeout: Option<HumanDuration>,
    idle_timeout: Option<HumanDuration>,
    write_timeout: Option<HumanDuration>,
    drain_timeout: Option<HumanDuration>,
    max_head: Option<HumanSize>,
    max_fields: Option<NonZeroU32>,
    max_connections: Option<NonZeroU32>,
    max_connections_per_address: Option<Switch<NonZeroU32>>,
    rate_limit: Option<Switch<RateConfig>>,
    cache: Option<Switch<HumanSize>>,
    access_log: Option<Switch<LogFormat>>,
}

/// The format of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LogFormat {
    Json,
    Common,
}

impl GatewayConfig {
    /// Reads the section, and refuses what cannot work. Paths in it begin at the folder of the file.
    pub(crate) fn read(file: &mut ConfigFile, path: &Path) -> Self {
        let mut section: Self = file.section(SECTION);
        section.refuse_what_cannot_work(file);
        let has_tls = section.listeners.iter().any(|one| one.tls.is_some());
        let folder = path.parent().unwrap_or(Path::new(""));
        for (n, listener) in section.listeners.iter_mut().enumerate() {
            let n = n.to_string();
            let setting = |name| [SECTION, "listeners", &n, name];
            let redirect = listener.redirect_https;
            if redirect == HttpsRedirectConfig::FirstTls && !has_tls {
                let wrong = "no listener has TLS: name the port to redirect to, as 443";
                file.refuse(&setting("redirect_https"), wrong);
            }
            if let Some(tls) = &mut listener.tls {
                if redirect != HttpsRedirectConfig::Off {
                    file.refuse(&setting("redirect_https"), "this listener has TLS itself");
                }
                if tls.certificates.is_empty() {
                    file.refuse(&setting("tls"), "it needs a certificate, in certificates");
                }
                tls.begin_at(folder);
            }
        }
        section
    }

    /// Refuses values that flags refuse as well.
    fn refuse_what_cannot_work(&self, file: &mut ConfigFile) {
        let is_zero = |time: Option<HumanDuration>| time.is_some_and(|time| time.0.is_zero());
        let zeros = [
            ("head_timeout", is_zero(self.head_timeout)),
            ("idle_timeout", is_zero(self.idle_timeout)),
            ("write_timeout", is_zero(self.write_timeout)),
            ("max_head", self.max_head.is_some_and(|size| size.0 == 0)),
            ("cache", self.cache_size() == Some(0)),
        ];
        for (name, _) in zeros.into_iter().filter(|(_, is_zero)| *is_zero) {
            file.refuse(&[SECTION, name], "must be more than 0");
        }
        if self.runtime == Some(RuntimeKind::PerCore) && cfg!(not(target_os = "linux")) {
            file.refuse(&[SECTION, "runtime"], "per-core needs Linux");
        }
    }

    fn cache_size(&self) -> Option<u64> {
        self.cache.and_then(Switch::on).map(|size| size.0)
    }

    /// Puts what the section says in the place of defaults.
    pub(super) fn apply(&self, options: &mut Options) {
        let of_count = |count: NonZeroU32| count.get() as usize;
        options.listeners.clone_from(&self.listeners);
        if let Some(admin) = self.admin {
            options.admin = admin.on();
        }
        options.workers = self.workers.map(of_count).or(options.workers);
        options.runtime = self.runtime.unwrap_or(options.runtime);
        set(
            &mut options.head_timeout,
            self.head_timeout.map(|time| time.0),
        );
        options.idle_timeout = self.idle_timeout.map(|time| time.0);
        set(
            &mut options.write_timeout,
            self.write_timeout.map(|time| time.0),
        );
        set(
            &mut options.drain_timeout,
            self.drain_timeout.map(|time| time.0),
        );
        let max_head = self.max_head.map(|size| usize::try_from(size.0));
        set(
            &mut options.max_head,
            max_head.map(|size| size.unwrap_or(usize::MAX)),
        );
        set(&mut options.max_fields, self.max_fields.map(of_count));
        options.max_connections = self.max_connections.map(of_count);
        if let Some(most) = self.max_connections_per_address {
            options.max_per_address = match most.on() {
                Some(most) => PerAddress::Most(of_count(most)),
                None => PerAddress::Off,
            };
        }
        options.rate = self.rate_limit.and_then(Switch::on);
        options.cache = self.cache_size();
        if let Some(format) = self.access_log {
            options.access_log = match format.on() {
                Some(LogFormat::Json) => RequestLog::Access(AccessLogFormat::Json),
                Some(LogFormat::Common) => RequestLog::Access(AccessLogFormat::Common),
                None => RequestLog::Off,
            };
        }
    }
}

/// Sets what is said.
fn set<T>(setting: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *setting = said;
    }
}
