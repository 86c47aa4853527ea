//! The endpoints of a Service: what its slices say together.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::slices::{AddressType, EndpointSlice, EndpointStage, ServiceSlices, SlicePort};
use crate::{
    discover::{
        place::EndpointPlace,
        reported::Located,
        set_reader::{FoundSet, SkippedEntry},
    },
    error::Error,
    upstream::ClientBuilder,
};

/// Which port of a Service is meant.
#[derive(Clone, Debug)]
pub(super) enum ServicePort {
    /// The one that there is.
    Only,
    /// By its name.
    Named(String),
    /// By its number, which is that of the endpoints.
    Number(u16),
}

/// What becomes of endpoints.
#[derive(Clone, Debug)]
pub(super) struct PodSettings {
    pub(super) place: EndpointPlace,
    pub(super) port: ServicePort,
    /// Which families are used.
    pub(super) families: (bool, bool),
    /// The zone whose endpoints come first.
    pub(super) zone: Option<String>,
    pub(super) client: ClientBuilder,
}

/// An endpoint as all slices together have it.
#[derive(Debug)]
struct PodEndpoint {
    addresses: Vec<SocketAddr>,
    /// If it has no addresses.
    host: Option<(String, u16)>,
    /// Whether it has hints at all, and whether one of them is the zone that is asked for.
    hints: (bool, bool),
}

/// Makes an endpoint of each pod that is ready. If there is none, of each that is being stopped and still answers.
///
/// `nothing` is the reason for a set without slices.
pub(super) fn endpoints(
    slices: &ServiceSlices,
    settings: &PodSettings,
    nothing: String,
) -> FoundSet {
    let mut set = FoundSet::nothing(nothing);
    let mut skip = |entry: String, cause: String| {
        let cause = cause.into();
        set.skipped.push(SkippedEntry { entry, cause });
    };
    let mut by_stage = BTreeMap::<EndpointStage, BTreeMap<String, PodEndpoint>>::new();
    for (name, slice) in slices {
        let slice = match slice {
            Ok(slice) => slice,
            Err(why) => {
                skip(format!("slice {name}"), why.clone());
                continue;
            }
        };
        let family = match slice.address_type {
            AddressType::V4 => settings.families.0,
            AddressType::V6 => settings.families.1,
            AddressType::Name => true,
        };
        if !family || slice.endpoints().next().is_none() {
            continue;
        }
        let port = match settings.port.of(slice) {
            Ok(port) => port,
            Err(why) => {
                skip(format!("slice {name}"), why);
                continue;
            }
        };
        for endpoint in slice.endpoints() {
            let Some(address) = endpoint.address() else {
                continue;
            };
            let key = endpoint.target().unwrap_or_else(|| address.to_owned());
            let pods = by_stage.entry(endpoint.stage()).or_default();
            let pod = pods.entry(format!("{key} {port}")).or_insert(PodEndpoint {
                addresses: Vec::new(),
                host: None,
                hints: (false, false),
            });
            match (slice.address_type, address.parse::<IpAddr>()) {
                (AddressType::Name, _) => pod.host = Some((address.to_owned(), port)),
                (_, Ok(ip)) => pod.addresses.push(SocketAddr::new(ip, port)),
                (_, Err(_)) => {
                    skip(
                        format!("slice {name}: {address}"),
                        "it is no address".to_owned(),
                    );
                }
            }
            for zone in endpoint.zones() {
                pod.hints.0 = true;
                pod.hints.1 |= settings.zone.as_deref() == Some(zone);
            }
        }
    }
    let usable = [EndpointStage::Ready, EndpointStage::Leaving];
    let pods = usable.iter().find_map(|stage| by_stage.remove(stage));
    let pods = pods.unwrap_or_default();
    // As kube-proxy has it: hints count if all endpoints have them and one of them is for here.
    let has_hints = pods.values().all(|pod| pod.hints.0) && pods.values().any(|pod| pod.hints.1);
    for (key, pod) in pods {
        let tier = u8::from(has_hints && !pod.hints.1);
        if let Some(located) = pod.located(settings) {
            set.add(
                key,
                located.map(|located| Located {
                    spec: located.spec.priority(tier),
                    ..located
                }),
            );
        }
    }
    // The Service is there, and has no endpoint that may be given requests.
    if !slices.is_empty() && set.skipped.is_empty() {
        set.doubt = None;
    }
    set
}

impl PodEndpoint {
    /// Describes the endpoint. `None` if it has no address.
    fn located(mut self, settings: &PodSettings) -> Option<Result<Located, Error>> {
        let PodSettings { place, client, .. } = settings;
        if let Some((host, port)) = self.host {
            return Some(place.at_host(client, &host, port));
        }
        // IPv4 first, so that an endpoint keeps its name when its other address comes.
        self.addresses.sort_unstable();
        self.addresses.dedup();
        match self.addresses.is_empty() {
            true => None,
            false => Some(place.at_addresses(client, self.addresses)),
        }
    }
}

impl ServicePort {
    /// Returns the number of the port in a slice.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn of(&self, slice: &EndpointSlice) -> Result<u16, String> {
        let ports = slice.ports();
        let name = |port: &SlicePort| port.name.clone().unwrap_or_default();
        let port = match self {
            Self::Only if ports.len() > 1 => {
                let names: Vec<_> = ports.iter().map(name).collect();
                return Err(format!(
                    "it has several ports, and none was chosen of {names:?}"
                ));
            }
            Self::Only => ports.first(),
            Self::Named(wanted) => ports.iter().find(|port| name(port) == *wanted),
            // Without any, all ports are meant.
            Self::Number(wanted) if ports.is_empty() => return Ok(*wanted),
            Self::Number(wanted) => ports.iter().find(|port| port.port == Some(*wanted)),
        };
        let names = || ports.iter().map(|port| (name(port), port.port));
        port.and_then(|port| port.port)
            .ok_or_else(|| format!("it has no such port, but {:?}", names().collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::discover::kubernetes::slices;

    fn settings() -> PodSettings {
        PodSettings {
            place: EndpointPlace::new("http://api.default.svc").unwrap(),
            port: ServicePort::Only,
            families: (true, true),
            zone: None,
            client: ClientBuilder::default(),
        }
    }

    /// A slice of a family with one port, `http` at 8080.
    fn slice(name: &str, family: &str, endpoints: Value) -> Value {
        json!({
            "metadata": {"name": name},
            "addressType": family,
            "endpoints": endpoints,
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        })
    }

    fn found(slices: impl IntoIterator<Item = Value>, settings: &PodSettings) -> FoundSet {
        let slices = slices.into_iter().filter_map(slices::read).collect();
        endpoints(&slices, settings, "none".to_owned())
    }

    /// The names and tiers of the endpoints.
    fn names(set: &FoundSet) -> Vec<(&str, u8)> {
        let mut names: Vec<_> = set
            .endpoints
            .iter()
            .map(|located| (located.spec.name(), located.spec.settings().1))
            .collect();
        names.sort_unstable();
        names
    }

    fn pod(ip: &str, conditions: Value) -> Value {
        json!({"addresses": [ip], "conditions": conditions})
    }

    #[test]
    fn what_is_ready_is_an_endpoint() {
        let all = json!([
            pod("10.0.0.1", json!({"ready": true, "serving": true, "terminating": false})),
            pod("10.0.0.2", json!({"ready": false, "serving": false, "terminating": false})),
            pod("10.0.0.3", json!({"ready": false, "serving": true, "terminating": true})),
            // What is not said is to be taken for ready.
            pod("10.0.0.4", json!({})),
            {"addresses": ["10.0.0.5"]},
            // `publishNotReadyAddresses`.
            pod("10.0.0.6", json!({"ready": true, "serving": false, "terminating": true})),
            {"addresses": []},
            {"addresses": null},
        ]);
        let set = found([slice("a", "IPv4", all)], &settings());
        let expected = [1, 4, 5, 6].map(|nth| format!("http://10.0.0.{nth}:8080"));
        assert_eq!(names(&set), expected.each_ref().map(|name| (&**name, 0)));
        assert!(set.skipped.is_empty());
    }

    /// While all are being stopped, those that still answer do.
    #[test]
    fn what_is_leaving_is_better_than_nothing() {
        let leaving = [
            pod(
                "10.0.0.1",
                json!({"ready": false, "serving": true, "terminating": true}),
            ),
            pod(
                "10.0.0.2",
                json!({"ready": false, "serving": false, "terminating": true}),
            ),
            pod(
                "10.0.0.3",
                json!({"ready": false, "serving": true, "terminating": false}),
            ),
        ];
        let set = found([slice("a", "IPv4", json!(leaving))], &settings());
        assert_eq!(names(&set), [("http://10.0.0.1:8080", 0)]);
        let set = found([slice("a", "IPv4", json!(leaving[1..]))], &settings());
        assert!(set.endpoints.is_empty() && set.doubt.is_none());
    }

    #[test]
    fn nothing_is_stated_by_slices_alone() {
        assert!(found([], &settings()).doubt.is_some());
        // As the API server writes a slice of a Service without pods.
        let empty = json!({"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": null, "ports": null});
        let set = found([empty], &settings());
        assert!(set.endpoints.is_empty() && set.doubt.is_none());
        // One that cannot be read states nothing.
        let set = found([json!({"metadata": {"name": "a"}})], &settings());
        assert!(set.doubt.is_some());
        assert_eq!(set.skipped[0].entry, "slice a");
    }

    #[test]
    fn an_address_in_two_slices_is_one_endpoint() {
        let unready = json!({"ready": false});
        let slices = || {
            [
                slice(
                    "a",
                    "IPv4",
                    json!([pod("10.0.0.1", json!({})), pod("10.0.0.2", unready.clone())]),
                ),
                slice(
                    "b",
                    "IPv4",
                    json!([pod("10.0.0.1", unready.clone()), pod("10.0.0.2", json!({}))]),
                ),
            ]
        };
        let set = found(slices(), &settings());
        let expected = [("http://10.0.0.1:8080", 0), ("http://10.0.0.2:8080", 0)];
        assert_eq!(names(&set), expected);
    }

    /// A pod with addresses of both families is one endpoint.
    #[test]
    fn dual_stack() {
        let pod = |ip: &str, name: &str| {
            json!({
                "addresses": [ip],
                "targetRef": {"kind": "Pod", "namespace": "default", "name": name, "uid": name},
            })
        };
        let slices = || {
            [
                slice(
                    "a",
                    "IPv6",
                    json!([pod("fd00::1", "a"), pod("fd00::2", "b")]),
                ),
                slice("b", "IPv4", json!([pod("10.0.0.1", "a")])),
            ]
        };
        let set = found(slices(), &settings());
        let expected = [("http://10.0.0.1:8080", 0), ("http://[fd00::2]:8080", 0)];
        assert_eq!(names(&set), expected);
        let addresses = set.endpoints.iter().map(|located| located.addresses.len());
        assert_eq!(addresses.sum::<usize>(), 3);
        let only = |families| PodSettings {
            families,
            ..settings()
        };
        let v4 = found(slices(), &only((true, false)));
        assert_eq!(names(&v4), [("http://10.0.0.1:8080", 0)]);
        let v6 = found(slices(), &only((false, true)));
        let expected = [("http://[fd00::1]:8080", 0), ("http://[fd00::2]:8080", 0)];
        assert_eq!(names(&v6), expected);
    }

    #[test]
    fn hints_are_tiers() {
        let pod = |ip: &str, zones: &[&str]| {
            let zones: Vec<_> = zones.iter().map(|zone| json!({"name": zone})).collect();
            json!({"addresses": [ip], "hints": {"forZones": zones}})
        };
        let hinted = json!([
            pod("10.0.0.1", &["a"]),
            pod("10.0.0.2", &["b"]),
            pod("10.0.0.3", &["a", "b"])
        ]);
        let tiers = |pods: &Value, zone: Option<&str>| {
            let zone = zone.map(str::to_owned);
            let set = found(
                [slice("a", "IPv4", pods.clone())],
                &PodSettings { zone, ..settings() },
            );
            names(&set)
                .into_iter()
                .map(|(_, tier)| tier)
                .collect::<Vec<_>>()
        };
        assert_eq!(tiers(&hinted, Some("a")), [0, 1, 0]);
        assert_eq!(tiers(&hinted, Some("b")), [1, 0, 0]);
        assert_eq!(tiers(&hinted, Some("c")), [0, 0, 0]);
        assert_eq!(tiers(&hinted, None), [0, 0, 0]);
        let partly =
            json!([pod("10.0.0.1", &["a"]), pod("10.0.0.2", &[]), {"addresses": ["10.0.0.3"]}]);
        assert_eq!(tiers(&partly, Some("a")), [0, 0, 0]);
        let null = json!([{"addresses": ["10.0.0.1"], "hints": {"forZones": null}}]);
        assert_eq!(tiers(&null, Some("a")), [0]);
    }

    #[test]
    fn a_port_is_chosen() {
        let ports = json!([{"name": "http", "port": 8080}, {"name": "metrics", "port": 9090}]);
        let mut two = slice("a", "IPv4", json!([pod("10.0.0.1", json!({}))]));
        two["ports"] = ports;
        let with = |port, slice: &Value| {
            let set = found([slice.clone()], &PodSettings { port, ..settings() });
            let names = names(&set).into_iter();
            match set.skipped.first() {
                Some(skipped) => skipped.cause.to_string(),
                None => names.map(|(name, _)| name).collect(),
            }
        };
        let named = |name: &str| ServicePort::Named(name.to_owned());
        assert_eq!(with(named("metrics"), &two), "http://10.0.0.1:9090");
        assert_eq!(
            with(ServicePort::Number(8080), &two),
            "http://10.0.0.1:8080"
        );
        for (port, why) in [
            (
                ServicePort::Only,
                "several ports, and none was chosen of [\"http\", \"metrics\"]",
            ),
            (named("grpc"), "no such port, but [(\"http\", Some(8080))"),
            (ServicePort::Number(1), "no such port"),
        ] {
            let said = with(port, &two);
            assert!(said.contains(why), "{said}");
        }
        // One without a name, and none, which stands for all.
        two["ports"] = json!([{"name": "", "port": 8081}]);
        assert_eq!(with(named(""), &two), "http://10.0.0.1:8081");
        two["ports"] = Value::Null;
        assert_eq!(
            with(ServicePort::Number(8082), &two),
            "http://10.0.0.1:8082"
        );
        assert!(with(ServicePort::Only, &two).contains("no such port"));
    }

    #[test]
    fn names_of_hosts_are_endpoints_too() {
        let settings = PodSettings {
            place: EndpointPlace::new("http://api.default.svc/base").unwrap(),
            ..settings()
        };
        let set = found(
            [slice("a", "FQDN", json!([pod("a.example", json!({}))]))],
            &settings,
        );
        assert_eq!(names(&set), [("http://a.example:8080/base", 0)]);
        let set = found(
            [slice("a", "IPv4", json!([pod("nonsense", json!({}))]))],
            &settings,
        );
        assert_eq!(set.skipped[0].entry, "slice a: nonsense");
    }
}
