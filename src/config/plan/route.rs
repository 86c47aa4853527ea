//! [`RoutePlan`]: a route that can be built.

use http::{HeaderValue, header};

use super::{
    super::{
        data::{HeaderCondition, HostConfig, MatchConfig, RouteConfig, Switch},
        routing::{Conditions, FieldCondition, HostPattern, PathPattern, RouteKey},
    },
    answer::{FixedAnswer, RedirectAnswer},
    failures::request_method,
    fields::{FieldChanges, field_value},
    place::SettingPlace,
    policy::field_name,
};
use crate::{proxy::ReverseProxy, rewrite::HostPolicy};

/// A route that was checked.
#[derive(Debug)]
pub(in crate::config) struct RoutePlan {
    pub(in crate::config) name: String,
    pub(in crate::config) key: RouteKey,
    pub(in crate::config) action: PlannedAction,
}

/// What is done with a request.
#[derive(Debug)]
pub(in crate::config) enum PlannedAction {
    /// It is forwarded to the cluster of this name, by a proxy with these settings.
    Forward(String, Box<ReverseProxy<()>>),
    Respond(FixedAnswer),
    Redirect(RedirectAnswer),
}

impl RoutePlan {
    /// Checks a route. `None` if it cannot be built. The settings of its proxy are those of `base`, but for its own.
    pub(super) fn new(
        name: &str,
        config: &RouteConfig,
        base: &ReverseProxy<()>,
        at: &SettingPlace<'_>,
    ) -> Option<Self> {
        let key = route_key(&config.matching, &at.key("match"));
        let proxy = proxy(config, base.clone(), at);
        let action = match (&config.cluster, &config.respond, &config.redirect) {
            (Some(cluster), None, None) => PlannedAction::Forward(cluster.clone(), Box::new(proxy)),
            (None, Some(respond), None) => {
                PlannedAction::Respond(FixedAnswer::new(respond, &at.key("respond"))?)
            }
            (None, None, Some(redirect)) => {
                PlannedAction::Redirect(RedirectAnswer::new(redirect, &at.key("redirect"))?)
            }
            _ => {
                at.refuse("a route needs exactly one of \"cluster\", \"respond\" and \"redirect\"");
                return None;
            }
        };
        Some(Self {
            name: name.to_owned(),
            key,
            action,
        })
    }
}

/// Checks which requests a route is for.
fn route_key(config: &MatchConfig, at: &SettingPlace<'_>) -> RouteKey {
    let mut key = RouteKey::default();
    let all = |setting: &str, values: &[String], take: &mut dyn FnMut(&str, &SettingPlace<'_>)| {
        for (nth, value) in values.iter().enumerate() {
            // One alone need not be in an array.
            take(value, &at.key(setting).item(nth));
        }
    };
    all(
        "host",
        &config.host,
        &mut |host, at| match HostPattern::parse(host) {
            Ok(host) => key.hosts.push(host),
            Err(why) => at.refuse(why),
        },
    );
    all(
        "path",
        &config.path,
        &mut |path, at| match PathPattern::path(path) {
            Ok(path) => key.paths.push(path),
            Err(why) => at.refuse(why),
        },
    );
    all(
        "path_prefix",
        &config.path_prefix,
        &mut |prefix, at| match PathPattern::prefix(prefix) {
            Ok(paths) => key.paths.extend(paths),
            Err(why) => at.refuse(why),
        },
    );
    all("method", &config.method, &mut |method, at| {
        if let Some(method) = request_method(method, at) {
            key.conditions.method(&method);
        }
    });
    key.conditions.fields = field_conditions(config, at).fields;
    key
}

fn field_conditions(config: &MatchConfig, at: &SettingPlace<'_>) -> Conditions {
    let mut conditions = Conditions::default();
    for (name, condition) in &config.header {
        let at = at.key("header").key(name);
        let Some(name) = field_name(name, &at) else {
            continue;
        };
        if name == header::HOST {
            at.refuse("conditions on the host are in \"host\"");
            continue;
        }
        let condition = match condition {
            HeaderCondition::Present => Some(FieldCondition::Present),
            HeaderCondition::Absent => Some(FieldCondition::Absent),
            HeaderCondition::Equals(value) => field_value(value, &at).map(FieldCondition::Equals),
        };
        let condition = condition.map(|condition| (name.clone(), condition));
        if conditions.fields.contains_key(name.as_str()) {
            at.refuse(format!("there are two conditions on {name}"));
        }
        conditions
            .fields
            .extend(condition.map(|condition| (name.to_string(), condition)));
    }
    conditions
}

/// Checks the settings of a proxy.
fn proxy(config: &RouteConfig, base: ReverseProxy<()>, at: &SettingPlace<'_>) -> ReverseProxy<()> {
    let mut proxy = base;
    if let Some(host) = &config.host {
        if let Some(policy) = host_policy(host, &at.key("host")) {
            proxy = proxy.host(policy);
        }
    }
    let prefix = |prefix: &Option<Switch<String>>| prefix.clone().and_then(Switch::on);
    at.apply(
        &mut proxy,
        "strip_prefix",
        prefix(&config.strip_prefix),
        |proxy, prefix| proxy.strip_prefix(&prefix),
    );
    at.apply(
        &mut proxy,
        "add_prefix",
        prefix(&config.add_prefix),
        |proxy, prefix| proxy.add_prefix(&prefix),
    );
    at.apply(
        &mut proxy,
        "trusted_peers",
        config.trusted_peers.as_ref(),
        |proxy, networks| proxy.trusted_peers(networks),
    );
    at.apply(
        &mut proxy,
        "via",
        config.via.as_ref(),
        |proxy, via| match via {
            Switch::Off => Ok(proxy.without_via()),
            Switch::On(name) => proxy.via(name),
        },
    );
    proxy = switches(proxy, config);
    if let Some(names) = &config.protected_fields {
        let at = at.key("protected_fields");
        let names = names.iter().enumerate();
        let names: Vec<_> = names
            .filter_map(|(nth, name)| field_name(name, &at.item(nth)))
            .collect();
        proxy = proxy.protected_fields(names);
    }
    if let Some(timeout) = config.response_timeout {
        proxy = proxy.response_timeout(timeout.on().map(|time| time.0));
    }
    if let Some(timeout) = config.idle_timeout {
        proxy = proxy.idle_timeout(timeout.on().map(|time| time.0));
    }
    if let Some(timeout) = config.total_timeout {
        proxy = proxy.total_timeout(timeout.on().map(|time| time.0));
    }
    if let Some(limit) = config.body_limit {
        proxy = proxy.body_limit(limit.on().map(|size| size.0));
    }
    if let Some(protocols) = &config.upgrades {
        proxy = proxy.upgrades(protocols);
    }
    hooks(proxy, config, at)
}

/// Sets what is either on or off.
fn switches(mut proxy: ReverseProxy<()>, config: &RouteConfig) -> ReverseProxy<()> {
    proxy = match config.forwarded {
        Some(true) => proxy.with_forwarded(),
        Some(false) => proxy.without_forwarded(),
        None => proxy,
    };
    proxy = match config.behind_tls {
        Some(true) => proxy.behind_tls(),
        Some(false) => proxy.not_behind_tls(),
        None => proxy,
    };
    proxy = match config.via_on_responses {
        Some(true) => proxy.with_via_on_responses(),
        Some(false) => proxy.without_via_on_responses(),
        None => proxy,
    };
    proxy = match config.reverse_mapping {
        Some(true) => proxy.with_reverse_mapping(),
        Some(false) => proxy.without_reverse_mapping(),
        None => proxy,
    };
    match config.server_timing {
        Some(true) => proxy.server_timing(|_| true),
        _ => proxy,
    }
}

/// Adds the hooks that the settings stand for.
fn hooks(
    mut proxy: ReverseProxy<()>,
    config: &RouteConfig,
    at: &SettingPlace<'_>,
) -> ReverseProxy<()> {
    if let Some(config) = &config.rewrite_request {
        let changes = FieldChanges::new(config, &at.key("rewrite_request"));
        proxy = proxy.rewrite_request(move |head| changes.apply(&mut head.headers));
    }
    if let Some(config) = &config.rewrite_response {
        let changes = FieldChanges::new(config, &at.key("rewrite_response"));
        proxy = proxy.rewrite_response(move |head| changes.apply(&mut head.headers));
    }
    proxy
}

fn host_policy(config: &HostConfig, at: &SettingPlace<'_>) -> Option<HostPolicy> {
    Some(match config {
        HostConfig::Endpoint => HostPolicy::Endpoint,
        HostConfig::Preserve => HostPolicy::Preserve,
        HostConfig::Fixed(host) => {
            let is_host = host.parse::<http::uri::Authority>().is_ok() && !host.contains('@');
            let value = HeaderValue::from_str(host).ok().filter(|_| is_host);
            let Some(value) = value else {
                at.key("fixed").refuse(format!(
                    "expected a host with or without a port, found {host:?}"
                ));
                return None;
            };
            HostPolicy::Fixed(value)
        }
    })
}
