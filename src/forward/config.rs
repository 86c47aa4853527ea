//! The settings of forwarding.

use std::fmt;

use super::{hooks::HeadHooks, timeouts::Timeouts};
use crate::rewrite::Rewrite;

/// All settings of forwarding, shared by the clones of a proxy.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) rewrite: Rewrite,
    pub(crate) timeouts: Timeouts,
    /// Bytes a request body may have.
    pub(crate) body_limit: u64,
    /// Tokens of `Upgrade` that may go through, lower case.
    pub(crate) upgrades: Vec<String>,
    pub(crate) hooks: HeadHooks,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rewrite: Rewrite::default(),
            timeouts: Timeouts::default(),
            body_limit: u64::MAX,
            upgrades: vec!["websocket".into()],
            hooks: HeadHooks::default(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("rewrite", &self.rewrite)
            .field("timeouts", &self.timeouts)
            .field("body_limit", &self.body_limit)
            .field("upgrades", &self.upgrades)
            .finish_non_exhaustive()
    }
}
