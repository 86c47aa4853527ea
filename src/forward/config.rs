//! The settings of forwarding.

use std::{fmt, time::Duration};

use super::hooks::HeadHooks;
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

/// The deadlines of an exchange; `None` is no deadline. Connecting has its own, at the endpoint's client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From the last byte of the request to the response head.
    pub(crate) head: Option<Duration>,
    /// With nothing moved, in bodies and tunnels.
    pub(crate) idle: Option<Duration>,
    /// For all of it, but not for tunnels.
    pub(crate) total: Option<Duration>,
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

impl Default for Timeouts {
    fn default() -> Self {
        // Head: nginx's proxy_read_timeout. Idle: YARP's ActivityTimeout.
        let (head, idle) = (Duration::from_secs(60), Duration::from_secs(100));
        Self {
            head: Some(head),
            idle: Some(idle),
            total: None,
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
