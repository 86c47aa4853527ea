//! EndpointSlices as the API has them, `discovery.k8s.io/v1`, as far as they are read.
//!
//! What is not a list may be `null` wherever a list is expected: the API server writes empty ones so.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The slices of a Service, by their names. One that could not be read is the reason for that.
pub(super) type ServiceSlices = BTreeMap<String, Result<EndpointSlice, String>>;

/// Some of the endpoints of a Service: those of one family that have the same ports.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointSlice {
    pub(super) address_type: AddressType,
    endpoints: Option<Vec<SliceEndpoint>>,
    ports: Option<Vec<SlicePort>>,
}

/// What the addresses of a slice are.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(super) enum AddressType {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
    /// The names of hosts.
    #[serde(rename = "FQDN")]
    Name,
}

/// A port of all endpoints of a slice.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct SlicePort {
    #[serde(default)]
    pub(super) name: Option<String>,
    pub(super) port: Option<u16>,
}

/// An endpoint of a slice, which is a pod nearly always.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct SliceEndpoint {
    addresses: Option<Vec<String>>,
    #[serde(default)]
    conditions: Option<EndpointConditions>,
    #[serde(default)]
    hints: Option<EndpointHints>,
    #[serde(default)]
    target_ref: Option<TargetRef>,
}

/// What an endpoint can do. What is not said is to be taken for the usual case.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
struct EndpointConditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

/// Where the requests of an endpoint should come from.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct EndpointHints {
    #[serde(default)]
    for_zones: Option<Vec<ForZone>>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct ForZone {
    name: String,
}

/// What an endpoint is: the same for its addresses of both families.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
struct TargetRef {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
}

/// Whether an endpoint may be given requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EndpointStage {
    /// It is not ready.
    Unready,
    /// It is being stopped, and still answers.
    Leaving,
    Ready,
}

/// Reads a slice of a list or of an event, and returns its name. `None` if it has none.
pub(super) fn read(slice: Value) -> Option<(String, Result<EndpointSlice, String>)> {
    let name = slice.get("metadata")?.get("name")?.as_str()?.to_owned();
    let slice = serde_json::from_value(slice).map_err(|error| error.to_string());
    Some((name, slice))
}

/// Returns the version of an object or a list, from which a watch can go on.
pub(super) fn version(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("resourceVersion")?.as_str()
}

impl EndpointSlice {
    /// Returns the endpoints.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &SliceEndpoint> {
        self.endpoints.iter().flatten()
    }

    /// Returns the ports.
    pub(super) fn ports(&self) -> &[SlicePort] {
        self.ports.as_deref().unwrap_or_default()
    }
}

impl SliceEndpoint {
    /// Returns the address. "No semantics are defined for additional addresses."
    pub(super) fn address(&self) -> Option<&str> {
        Some(self.addresses.as_ref()?.first()?.as_str())
    }

    /// Returns what tells the endpoint from others, if its address is not all that is known of it.
    pub(super) fn target(&self) -> Option<String> {
        let TargetRef {
            kind,
            namespace,
            name,
            uid,
        } = self.target_ref.as_ref()?;
        let parts = [kind, namespace, name, uid].map(|part| part.as_deref().unwrap_or_default());
        parts
            .iter()
            .any(|part| !part.is_empty())
            .then(|| parts.join("/"))
    }

    /// Returns whether it may be given requests.
    ///
    /// As kube-proxy has it (`CategorizeEndpoints`): those that are `ready`, or if there are none, those that are
    /// `terminating` and `serving`. `ready` is false of an endpoint that is being stopped, so that it drains, unless
    /// its Service has `publishNotReadyAddresses`: it wants its pods to be reached whether they are fit for it or not.
    ///
    /// Unknown, `ready` and `serving` are to be taken for true, and `terminating` for false.
    pub(super) fn stage(&self) -> EndpointStage {
        let EndpointConditions {
            ready,
            serving,
            terminating,
        } = self.conditions.unwrap_or_default();
        match (ready.unwrap_or(true), terminating.unwrap_or(false)) {
            (true, _) => EndpointStage::Ready,
            (false, true) if serving.unwrap_or(true) => EndpointStage::Leaving,
            (false, _) => EndpointStage::Unready,
        }
    }

    /// Returns the zones that its requests should come from.
    pub(super) fn zones(&self) -> impl Iterator<Item = &str> {
        let zones = self.hints.iter().flat_map(|hints| &hints.for_zones);
        zones.flatten().map(|zone| zone.name.as_str())
    }
}
