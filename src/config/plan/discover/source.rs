//! [`DiscoverPlan`]: a source that was checked.

use std::fmt;

#[cfg(feature = "dns")]
use super::dns;
#[cfg(feature = "etcd")]
use super::etcd;
#[cfg(feature = "file")]
use super::file;
#[cfg(feature = "kubernetes")]
use super::kubernetes;
use super::{
    super::{super::data::DiscoverConfig, place::SettingPlace},
    build_over::BuildOver,
};
use crate::{
    balance::{LoadBalance, LoadBalanceBuilder},
    endpoint::EndpointSpec,
    error::Error,
    upstream::ClientBuilder,
};

/// A source that was checked: builds a cluster over it.
pub(in crate::config::plan) struct DiscoverPlan(BuildOver);

impl DiscoverPlan {
    /// Checks a source. `None` if it cannot be used.
    #[cfg_attr(
        not(any(
            feature = "dns",
            feature = "etcd",
            feature = "file",
            feature = "kubernetes"
        )),
        expect(unused_variables, reason = "there is no source")
    )]
    pub(in crate::config::plan) fn new(
        source: &DiscoverConfig,
        client: &ClientBuilder,
        at: &SettingPlace<'_>,
    ) -> Option<Self> {
        let build = match source {
            #[cfg(feature = "dns")]
            DiscoverConfig::Dns(config) => dns::addresses(config, client, &at.key("dns")),
            #[cfg(feature = "dns")]
            DiscoverConfig::Srv(config) => dns::services(config, client, &at.key("srv")),
            #[cfg(not(feature = "dns"))]
            DiscoverConfig::Dns(_) | DiscoverConfig::Srv(_) => is_off("dns", at),
            #[cfg(feature = "file")]
            DiscoverConfig::File(config) => file::lines(config, client, &at.key("file")),
            #[cfg(not(feature = "file"))]
            DiscoverConfig::File(_) => is_off("file", at),
            #[cfg(feature = "etcd")]
            DiscoverConfig::Etcd(config) => etcd::keys(config, client, &at.key("etcd")),
            #[cfg(not(feature = "etcd"))]
            DiscoverConfig::Etcd(_) => is_off("etcd", at),
            #[cfg(feature = "kubernetes")]
            DiscoverConfig::Kubernetes(config) => {
                kubernetes::pods(config, client, &at.key("kubernetes"))
            }
            #[cfg(not(feature = "kubernetes"))]
            DiscoverConfig::Kubernetes(_) => is_off("kubernetes", at),
        };
        build.map(Self)
    }

    /// Builds the cluster. It will be given these endpoints until the source has reported.
    ///
    /// # Errors
    ///
    /// There is no runtime.
    pub(in crate::config::plan) fn build(
        &self,
        builder: LoadBalanceBuilder,
        inherited: Vec<EndpointSpec>,
    ) -> Result<LoadBalance, Error> {
        (self.0)(builder, inherited)
    }
}

/// Notes that the feature of a source is off.
#[cfg(not(all(
    feature = "dns",
    feature = "etcd",
    feature = "file",
    feature = "kubernetes"
)))]
fn is_off(feature: &str, at: &SettingPlace<'_>) -> Option<BuildOver> {
    at.needs(feature);
    None
}

impl fmt::Debug for DiscoverPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoverPlan").finish_non_exhaustive()
    }
}
