//! [`PlannedEndpoint`]: an endpoint that was checked.

use std::{collections::HashSet, sync::Arc};

use super::{super::data::EndpointConfig, place::SettingPlace};
use crate::{
    endpoint::EndpointSpec,
    upstream::{ClientBuilder, canonical_url},
};

/// An endpoint that was checked.
#[derive(Clone, Debug)]
pub(in crate::config) struct PlannedEndpoint {
    /// The URL with all that its connections go by; whatever else changes, the service stays.
    pub(in crate::config) url: Arc<str>,
    /// 0 if it gets no new requests.
    pub(in crate::config) weight: u32,
    pub(in crate::config) priority: u8,
    pub(in crate::config) spec: EndpointSpec,
}

/// Checks the endpoints. What is wrong with one does not take the others along.
pub(super) fn endpoints_of(
    endpoints: &[EndpointConfig],
    client: &ClientBuilder,
    at: &SettingPlace<'_>,
) -> Vec<PlannedEndpoint> {
    let mut names = HashSet::new();
    let mut planned = Vec::new();
    for (nth, config) in endpoints.iter().enumerate() {
        let at = at.item(nth);
        let Some(endpoint) = endpoint(config, client, &at) else {
            continue;
        };
        let name = endpoint.spec.name().to_owned();
        match names.insert(name.clone()) {
            true => planned.push(endpoint),
            false => at.refuse(format!("{name:?} is listed twice; use a weight instead")),
        }
    }
    planned
}

/// Checks one endpoint.
fn endpoint(
    config: &EndpointConfig,
    client: &ClientBuilder,
    at: &SettingPlace<'_>,
) -> Option<PlannedEndpoint> {
    if config.url.is_empty() {
        at.refuse("missing field \"url\"");
        return None;
    }
    let named = config.name.as_deref().map(|name| client.clone().name(name));
    let spec = EndpointSpec::url_with(named.as_ref().unwrap_or(client), &config.url);
    let mut spec = at.take(spec)?;
    let (own, _) = spec.settings();
    if own != 1 && config.weight.is_some() {
        at.refuse("the weight is in the URL, and beside it");
    }
    let weight = config.weight.unwrap_or(own);
    if weight > 0 {
        spec = at.key("weight").take(spec.weight(weight))?;
    }
    let priority = config.priority.unwrap_or_default();
    let address = config.url.split(";weight=").next().unwrap_or_default();
    Some(PlannedEndpoint {
        url: canonical_url(address).unwrap_or_else(|| address.into()),
        weight,
        priority,
        spec: spec.priority(priority),
    })
}
