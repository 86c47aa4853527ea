//! The endpoints of a Service: what its slices say together.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::slices::{AddressType, EndpointSlice, EndpointStage, ServiceSlices, SlicePort};
use crate::{
    discover::{
        families::Families,
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

/// How pods become endpoints.
#[derive(Clone, Debug)]
pub(super) struct PodSettings {
    pub(super) place: EndpointPlace,
    pub(super) port: ServicePort,
    pub(super) families: Families,
    /// The zone whose endpoints come first.
    pub(super) zone: Option<String>,
    pub(super) client: ClientBuilder,
}

/// Makes an endpoint of each pod that is ready. If there is none, of each that is being stopped and still answers.
///
/// `service` is what the Service is called in errors.
pub(super) fn endpoints(slices: &ServiceSlices, settings: &PodSettings, service: &str) -> FoundSet {
    let mut found = FoundPods::default();
    for (name, slice) in slices {
        found.add(name, slice.as_ref(), settings);
    }
    let mut set = FoundSet::nothing(match slices.is_empty() {
        true => format!("{service} has no EndpointSlices"),
        false => format!("none of the EndpointSlices of {service} can be used"),
    });
    let usable = [EndpointStage::Ready, EndpointStage::Leaving];
    let pods = usable.iter().find_map(|stage| found.pods.remove(stage));
    let pods = pods.unwrap_or_default();
    // As kube-proxy has it: hints count if all endpoints have them and one of them is for here.
    let hints_count =
        pods.values().all(|pod| pod.is_hinted) && pods.values().any(|pod| pod.is_near);
    for (entry, pod) in pods {
        let tier = u8::from(hints_count && !pod.is_near);
        if let Some(located) = pod.located(settings) {
            let in_tier = |located: Located| Located {
                spec: located.spec.priority(tier),
                ..located
            };
            set.add(entry, located.map(in_tier));
        }
    }
    set.skipped.extend(found.skipped);
    // The Service is there, and has no endpoint that may be given requests.
    if !slices.is_empty() && set.skipped.is_empty() {
        set.doubt = None;
    }
    set
}

/// What slices have, as far as they were read.
#[derive(Default)]
struct FoundPods {
    /// By what tells them apart, and by whether they may be given requests.
    pods: BTreeMap<EndpointStage, BTreeMap<String, PodEndpoint>>,
    skipped: Vec<SkippedEntry>,
}

/// An endpoint as all slices together have it.
#[derive(Debug, Default)]
struct PodEndpoint {
    addresses: Vec<SocketAddr>,
    /// Its name and its port, if it is known by a name.
    host: Option<(String, u16)>,
    /// Whether it is meant for certain zones, and whether one of them is that of the settings.
    is_hinted: bool,
    is_near: bool,
}

impl FoundPods {
    /// Adds the endpoints of a slice, or skips it.
    fn add(&mut self, name: &str, slice: Result<&EndpointSlice, &String>, settings: &PodSettings) {
        let slice = match slice {
            Ok(slice) => slice,
            Err(why) => return self.skip(format!("slice {name}"), why),
        };
        let is_used = match slice.address_type {
            AddressType::V4 => settings.families.have_v4(),
            AddressType::V6 => settings.families.have_v6(),
            AddressType::Name => true,
        };
        if !is_used || slice.endpoints().next().is_none() {
            return;
        }
        let port = match settings.port.of(slice) {
            Ok(port) => port,
            Err(why) => return self.skip(format!("slice {name}"), &why),
        };
        for endpoint in slice.endpoints() {
            let Some(address) = endpoint.address() else {
                continue;
            };
            let ip = match (slice.address_type, address.parse::<IpAddr>()) {
                (AddressType::Name, _) => None,
                (_, Ok(ip)) => Some(ip),
                (_, Err(error)) => {
                    self.skip(format!("slice {name}: {address}"), &error.to_string());
                    continue;
                }
            };
            let pods = self.pods.entry(endpoint.stage()).or_default();
            let key = endpoint.target().unwrap_or_else(|| address.to_owned());
            let pod = pods.entry(format!("{key}, port {port}")).or_default();
            match ip {
                Some(ip) => pod.addresses.push(SocketAddr::new(ip, port)),
                None => pod.host = Some((address.to_owned(), port)),
            }
            for zone in endpoint.zones() {
                pod.is_hinted = true;
                pod.is_near |= settings.zone.as_deref() == Some(zone);
            }
        }
    }

    /// Skips an entry.
    fn skip(&mut self, entry: String, why: &str) {
        let cause = why.into();
        self.skipped.push(SkippedEntry { entry, cause });
    }
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
        let shown = |port: &SlicePort| {
            let number = port.port.map(|number| number.to_string());
            let number = number.as_deref().unwrap_or("all ports");
            match name(port) {
                name if name.is_empty() => number.to_owned(),
                name => format!("{name} ({number})"),
            }
        };
        let shown = || ports.iter().map(shown).collect::<Vec<_>>().join(", ");
        let port = match self {
            Self::Only if ports.len() > 1 => {
                return Err(format!(
                    "it has several ports, of which none was chosen: {}",
                    shown()
                ));
            }
            Self::Only => ports.first(),
            Self::Named(wanted) => ports.iter().find(|port| name(port) == *wanted),
            // Without any, all ports are meant.
            Self::Number(wanted) if ports.is_empty() => return Ok(*wanted),
            Self::Number(wanted) => ports.iter().find(|port| port.port == Some(*wanted)),
        };
        port.and_then(|port| port.port)
            .ok_or_else(|| match ports.is_empty() {
                true => "it has no ports".to_owned(),
                false => format!("it has no such port; it has {}", shown()),
            })
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
            families: Families::Both,
            zone: None,
            client: ClientBuilder::default(),
        }
    }

    /// A slice of a family with one port, `http` at 8080.
    fn slice(name: &str, family: &str, endpoints: Value) -> Value {
        let mut slice = json!({
            "metadata": {"name": name},
            "addressType": family,
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        });
        slice["endpoints"] = endpoints;
        slice
    }

    fn found(slices: impl IntoIterator<Item = Value>, settings: &PodSettings) -> FoundSet {
        let slices = slices.into_iter().filter_map(slices::read).collect();
        endpoints(&slices, settings, "the Service")
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
        let mut pod = json!({"addresses": [ip]});
        pod["conditions"] = conditions;
        pod
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
        // Of an older controller, which does not say whether it still answers.
        let unknown = [pod(
            "10.0.0.4",
            json!({"ready": false, "terminating": true}),
        )];
        let set = found([slice("a", "IPv4", json!(unknown))], &settings());
        assert_eq!(names(&set), [("http://10.0.0.4:8080", 0)]);
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
        let v4 = found(slices(), &only(Families::V4));
        assert_eq!(names(&v4), [("http://10.0.0.1:8080", 0)]);
        let v6 = found(slices(), &only(Families::V6));
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
                "several ports, of which none was chosen: http (8080), metrics (9090)",
            ),
            (
                named("grpc"),
                "no such port; it has http (8080), metrics (9090)",
            ),
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
        assert_eq!(with(ServicePort::Only, &two), "it has no ports");
        two["ports"] = json!([{"name": "a"}, {"port": 8083}]);
        let said = with(named("b"), &two);
        assert_eq!(said, "it has no such port; it has a (all ports), 8083");
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
