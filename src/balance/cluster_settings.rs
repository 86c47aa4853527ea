//! The settings of a cluster.

use std::time::Duration;

use super::{policy::Policy, queueing::QueueSettings, wake::Wake};
use crate::{
    endpoint::SharedSettings,
    retry::{Hedge, Retry},
    upstream::ClientBuilder,
};

/// The settings of a cluster; [`LoadBalanceBuilder`](super::LoadBalanceBuilder) has their defaults.
pub(super) struct ClusterSettings {
    pub(super) policy: Policy,
    /// The most members that are used, at least 1. `None` uses all.
    pub(super) subset: Option<usize>,
    /// The source of the subset's seed and of every random pick. It need not be unpredictable, only different in each
    /// process.
    pub(super) rng: fastrand::Rng,
    /// How long [`Cluster::reported`] waits for discovery.
    pub(super) ready_timeout: Duration,
    /// The settings of the client for a URL that is inserted later.
    pub(super) client: ClientBuilder,
    /// Whether an endpoint gets no requests until a health check of it has passed.
    pub(super) awaits_checks: bool,
    /// What all endpoints have in common.
    pub(super) endpoints: SharedSettings,
    pub(super) retry: Retry,
    pub(super) hedge: Option<Hedge>,
    pub(super) queue: QueueSettings,
    /// What wakes an empty cluster. `None` lets its requests fail at once.
    pub(super) wake: Option<Wake>,
    /// Whether each attempt says why it went where it did.
    #[cfg(feature = "status")]
    pub(super) explains: bool,
}
