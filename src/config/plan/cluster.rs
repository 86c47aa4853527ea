//! [`ClusterPlan`]: a cluster that can be built.

use std::{collections::HashMap, time::Duration};

use super::{
    super::data::{
        AdaptiveConcurrencyConfig, ClusterConfig, DiscoverConfig, EjectionConfig, QueueByConfig,
        Switch,
    },
    client::{client, limit},
    discover::DiscoverPlan,
    endpoints::{PlannedEndpoint, endpoints_of},
    failures::{ejection, health_check, hedge, retry},
    place::SettingPlace,
    policy::{field_name, policy},
};
use crate::{
    balance::{EndpointChange, LoadBalance, LoadBalanceBuilder},
    endpoint::EndpointSpec,
    error::Error,
    health::Ejection,
    retry::Retry,
    upstream::ClientBuilder,
};

/// The settings that are checked only when a cluster is built.
const LATE: &[&str] = &[
    "subset",
    "max_in_flight",
    "max_in_flight_total",
    "queue",
    "hedge",
];

/// A cluster that was checked.
#[derive(Debug)]
pub(in crate::config) struct ClusterPlan {
    /// With its defaults applied.
    pub(in crate::config) config: ClusterConfig,
    /// Of the files that it has read.
    pub(in crate::config) digest: u128,
    pub(in crate::config) endpoints: Vec<PlannedEndpoint>,
    builder: LoadBalanceBuilder,
    discover: Option<DiscoverPlan>,
}

impl ClusterPlan {
    /// Checks a cluster. `None` if it cannot be built.
    pub(super) fn new(name: &str, config: ClusterConfig, at: &SettingPlace<'_>) -> Option<Self> {
        at.digest();
        let client = client(
            config.client.as_ref().unwrap_or(&Default::default()),
            &at.key("client"),
        );
        let client = client.unwrap_or_default();
        let builder = builder(name, &config, at).client(client.clone());
        let endpoints = config.endpoints.as_deref().unwrap_or_default();
        let planned = endpoints_of(endpoints, &client, &at.key("endpoints"));
        let discover = match (&config.endpoints, &config.discover) {
            (Some(_), None) => None,
            (None, Some(source)) => Some(discover(source, &client, at)?),
            (None, None) => {
                at.refuse("a cluster needs \"endpoints\" or \"discover\"");
                return None;
            }
            (Some(_), Some(_)) => {
                at.key("discover")
                    .refuse("expected either \"endpoints\" or \"discover\", found both");
                return None;
            }
        };
        at.take_by(builder.check(), LATE)?;
        Some(Self {
            digest: at.digest(),
            config,
            endpoints: planned,
            builder,
            discover,
        })
    }

    /// Builds the cluster. `former` are the endpoints of the one that it takes the place of, with the services that
    /// they keep; none if endpoints are reached in another way now.
    ///
    /// # Errors
    ///
    /// There is no runtime, and the cluster needs one; or the operating system gives no random numbers.
    pub(in crate::config) fn build(&self, former: Vec<EndpointSpec>) -> Result<LoadBalance, Error> {
        let builder = self.builder.clone();
        if let Some(discover) = &self.discover {
            let balance = discover.build(builder, former.clone())?;
            // A change counts as a report, and one without endpoints would say that there are none.
            if !former.is_empty() {
                let inserted = former.into_iter();
                let inserted = inserted.map(|spec| EndpointChange::Insert(spec, 1));
                balance.handle().change(inserted);
            }
            return Ok(balance);
        }
        let former: HashMap<_, _> = former.iter().map(|spec| (spec.name(), spec)).collect();
        let specs = self.endpoints.iter().map(|endpoint| {
            let spec = endpoint.spec.clone();
            match former.get(spec.name()) {
                Some(former) => spec.sharing_service(former),
                None => spec,
            }
        });
        let balance = builder.endpoints(specs)?;
        for endpoint in self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.weight == 0)
        {
            balance.handle().set_weight(endpoint.spec.name(), 0);
        }
        Ok(balance)
    }

    /// Returns whether the endpoints of both are found and reached in the same way.
    pub(in crate::config) fn shares_endpoints(&self, other: &Self) -> bool {
        let own = (self.digest, &self.config.discover, &self.config.client);
        own == (other.digest, &other.config.discover, &other.config.client)
    }

    /// Returns whether both differ in their endpoints at most, so that the one can become the other.
    pub(in crate::config) fn is_like(&self, other: &Self) -> bool {
        let endpoints = |plan: &Self| plan.config.endpoints.clone();
        let mut with_same = other.config.clone();
        with_same.endpoints = endpoints(self);
        let both_listed = endpoints(self).is_some() == endpoints(other).is_some();
        both_listed && self.digest == other.digest && self.config == with_same
    }
}

fn discover(
    source: &DiscoverConfig,
    client: &ClientBuilder,
    at: &SettingPlace<'_>,
) -> Option<DiscoverPlan> {
    DiscoverPlan::new(source, client, &at.key("discover"))
}

/// Returns the builder, but for the client.
fn builder(name: &str, config: &ClusterConfig, at: &SettingPlace<'_>) -> LoadBalanceBuilder {
    let mut builder = LoadBalanceBuilder::default().name(name);
    if let Some(config) = &config.policy {
        if let Some(policy) = policy(config, &at.key("policy")) {
            builder = builder.policy(policy);
        }
    }
    if let Some(Switch::On(endpoints)) = config.subset {
        builder = builder.subset(endpoints);
    }
    if let Some(time) = config.ready_timeout {
        builder = builder.ready_timeout(limit(time));
    }
    if let Some(seed) = config.seed {
        builder = builder.seed(seed);
    }
    if let Some(config) = &config.retry {
        builder = builder.retry(match config {
            Switch::Off => Retry::never(),
            Switch::On(config) => retry(config, &at.key("retry")),
        });
    }
    if let Some(Switch::On(config)) = &config.hedge {
        builder = builder.hedge(hedge(config, &at.key("hedge")));
    }
    if let Some(config) = &config.ejection {
        let ejection = config.as_ref().on();
        builder = builder.ejection(ejection.map(|config| ejection_of(config, at)));
    }
    if let Some(Switch::On(requests)) = config.max_in_flight {
        builder = builder.max_in_flight(requests);
    }
    if let Some(Switch::On(requests)) = config.max_in_flight_total {
        builder = builder.max_in_flight_total(requests);
    }
    if let Some(Switch::On(settings)) = &config.adaptive_concurrency {
        builder = adaptive(builder, settings, &at.key("adaptive_concurrency"));
    }
    if let Some(Switch::On(queue)) = &config.queue {
        let deadline = queue.deadline.map_or(Duration::from_secs(1), limit);
        builder = builder.queue(queue.requests.unwrap_or_default(), deadline);
    }
    if let Some(Switch::On(QueueByConfig::Header(name))) = &config.queue_by {
        if let Some(name) = field_name(name, &at.key("queue_by").key("header")) {
            builder = builder.queue_by(move |request| request.headers().get(&name).cloned());
        }
    }
    if let Some(Switch::On(config)) = &config.health_check {
        if let Some(check) = health_check(config, &at.key("health_check")) {
            builder = builder.health_check(check);
        }
    }
    explain(builder, config, at)
}

fn ejection_of(config: &EjectionConfig, at: &SettingPlace<'_>) -> Ejection {
    ejection(config, &at.key("ejection"))
}

#[cfg(feature = "status")]
fn explain(
    builder: LoadBalanceBuilder,
    config: &ClusterConfig,
    _: &SettingPlace<'_>,
) -> LoadBalanceBuilder {
    match config.explain {
        Some(explain) => builder.explain(explain),
        None => builder,
    }
}

#[cfg(not(feature = "status"))]
fn explain(
    builder: LoadBalanceBuilder,
    config: &ClusterConfig,
    at: &SettingPlace<'_>,
) -> LoadBalanceBuilder {
    if config.explain == Some(true) {
        at.key("explain").needs("status");
    }
    builder
}

#[cfg(feature = "adaptive-limit")]
fn adaptive(
    builder: LoadBalanceBuilder,
    config: &AdaptiveConcurrencyConfig,
    at: &SettingPlace<'_>,
) -> LoadBalanceBuilder {
    use crate::AdaptiveConcurrency;

    let mut settings = AdaptiveConcurrency::gradient();
    if let Some(Switch::On(longest)) = config.aimd {
        let aimd = at.key("aimd").take(AdaptiveConcurrency::aimd(longest.0));
        settings = aimd.unwrap_or(settings);
    }
    at.apply(
        &mut settings,
        "initial",
        config.initial,
        AdaptiveConcurrency::initial,
    );
    let limits = config.limits.as_ref().map(|limits| {
        let (min, max) = (limits.min.unwrap_or(1), limits.max.unwrap_or(1000));
        std::ops::RangeInclusive::new(min, max)
    });
    at.apply(&mut settings, "limits", limits, AdaptiveConcurrency::limits);
    builder.adaptive_concurrency(settings)
}

#[cfg(not(feature = "adaptive-limit"))]
fn adaptive(
    builder: LoadBalanceBuilder,
    _: &AdaptiveConcurrencyConfig,
    at: &SettingPlace<'_>,
) -> LoadBalanceBuilder {
    at.needs("adaptive-limit");
    builder
}
