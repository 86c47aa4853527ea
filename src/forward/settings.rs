//! The settings of forwarding, with their defaults.
//!
//! Setters and the documentation of each setting are in `proxy/reverse_proxy.rs`. A request reads the settings through
//! the `Arc` of its proxy: a proxy that is changed later makes a copy of them, and requests in flight keep theirs.

use std::fmt;

use super::{hooks::HeadHooks, timeouts::Timeouts};
use crate::{rewrite::Rewrite, telemetry::ExchangeMetrics};

/// All settings of forwarding, shared by the clones of a proxy.
#[derive(Clone)]
pub(crate) struct ForwardSettings {
    /// How heads are rewritten.
    pub(crate) rewrite: Rewrite,
    /// The deadlines of an exchange, each of which a request may replace.
    pub(crate) timeouts: Timeouts,
    /// The largest size of a request body, in bytes. `u64::MAX` is no limit.
    pub(crate) body_limit: u64,
    /// The protocols that a client may upgrade to, in lower case.
    pub(crate) upgrades: Vec<String>,
    /// The user's hooks on heads.
    pub(crate) hooks: HeadHooks,
    /// Shared by all clones of a proxy, those with other settings too.
    pub(super) metrics: ExchangeMetrics,
}

impl Default for ForwardSettings {
    /// Returns the settings of a new proxy.
    ///
    /// Of upgrades only `websocket` is allowed. `h2c`, above all, would give a client a connection to the endpoint on
    /// which the proxy checks nothing.
    fn default() -> Self {
        Self {
            rewrite: Rewrite::default(),
            timeouts: Timeouts::default(),
            body_limit: u64::MAX,
            upgrades: vec!["websocket".into()],
            hooks: HeadHooks::default(),
            metrics: ExchangeMetrics::default(),
        }
    }
}

impl fmt::Debug for ForwardSettings {
    /// Leaves the hooks out, which are functions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardSettings")
            .field("rewrite", &self.rewrite)
            .field("timeouts", &self.timeouts)
            .field("body_limit", &self.body_limit)
            .field("upgrades", &self.upgrades)
            .finish_non_exhaustive()
    }
}
