//! [`HealthCheckConfig`]: the active check of endpoints.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{inherit::Inherit, units::HumanDuration};

/// The active check of endpoints: exactly one of http, tcp and grpc, the constructors of
/// [`HealthCheck`](crate::HealthCheck), and settings that are its methods of the same names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HealthCheckConfig {
    /// Checks by a request for this path, as "/healthz".
    pub http: Option<String>,
    /// Checks by connecting: true.
    pub tcp: bool,
    /// Checks by the gRPC health protocol: the name of the service, "" for the server as a whole.
    pub grpc: Option<String>,
    /// The method of an HTTP check. Default: GET.
    pub method: Option<String>,
    /// The Host of the check. Default: the authority of the endpoint's URL.
    pub host: Option<String>,
    /// The statuses that pass an HTTP check. Default: 200 to 299.
    pub expect_status: Option<Vec<u16>>,
    /// The time from one check to the next. Default: 15s.
    pub interval: Option<HumanDuration>,
    /// The longest time that a check may take. Default: 10s.
    pub timeout: Option<HumanDuration>,
    /// How many checks in a row have to fail before the endpoint gets no requests. Default: 2.
    pub unhealthy_after: Option<u32>,
    /// How many checks in a row have to pass before it gets requests again. Default: 1.
    pub healthy_after: Option<u32>,
    /// Whether an endpoint has to pass a check before it gets its first request. Default: false.
    pub required_before_use: Option<bool>,
}

impl HealthCheckConfig {
    /// Returns whether it says what is done.
    pub(in crate::config) fn has_kind(&self) -> bool {
        self.http.is_some() || self.tcp || self.grpc.is_some()
    }
}

impl Inherit for HealthCheckConfig {
    /// What is done, and how, is inherited as a whole: the method of an HTTP check is of no use to one by gRPC.
    fn inherit(&mut self, defaults: &Self) {
        if !self.has_kind() {
            self.http.clone_from(&defaults.http);
            self.tcp = defaults.tcp;
            self.grpc.clone_from(&defaults.grpc);
            self.method = self.method.take().or_else(|| defaults.method.clone());
            self.host = self.host.take().or_else(|| defaults.host.clone());
            let statuses = self.expect_status.take();
            self.expect_status = statuses.or_else(|| defaults.expect_status.clone());
        }
        self.interval = self.interval.or(defaults.interval);
        self.timeout = self.timeout.or(defaults.timeout);
        self.unhealthy_after = self.unhealthy_after.or(defaults.unhealthy_after);
        self.healthy_after = self.healthy_after.or(defaults.healthy_after);
        self.required_before_use = self.required_before_use.or(defaults.required_before_use);
    }
}
