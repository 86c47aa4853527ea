//! [`Kubernetes`]: endpoints that are the pods of a Service.

mod access;
mod api;
mod credentials;
mod kubeconfig;
mod lines;
mod plugin;
mod pods;
mod slices;
mod source;
mod watch;

use std::{path::PathBuf, time::Duration};

use self::{
    access::AccessSettings,
    pods::{PodSettings, ServicePort},
    source::KubernetesSettings,
};
use super::{
    families::Families,
    place::EndpointPlace,
    source_stream::{SHORTEST_TIME, SourceStream, discovers},
};
use crate::{
    error::Error,
    upstream::{Client, ClientBuilder},
};

/// The shortest time that a watch lasts: the API server takes it in whole seconds.
const SHORTEST_WATCH_TIME: Duration = Duration::from_secs(1);

/// The longest time that a watch lasts. The slices are listed again as often.
const LONGEST_WATCH_TIME: Duration = Duration::from_secs(60 * 60);

/// Discovers the pods of a Service in Kubernetes, by its EndpointSlices, and follows their changes.
///
/// It is a [`Discover`](super::Discover), to be given to
/// [`LoadBalanceBuilder::discover`](crate::balance::LoadBalanceBuilder::discover):
///
/// ```no_run
/// use axum_upstream::{LoadBalance, discover::Kubernetes};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), axum_upstream::Error> {
/// let api = Kubernetes::service("default", "api")?.port("http").zone("eu-west-1a");
/// let backends = LoadBalance::builder().discover(api)?;
/// # Ok(())
/// # }
/// ```
///
/// Requests go to the pods, and not to the address of the Service. The endpoints are named by their addresses, as
/// `http://10.1.0.7:8080`, and have a weight of 1. `Host`, TLS (SNI) and the verification of certificates go by
/// `api.default.svc`, unless [`url`](Self::url) says otherwise.
///
/// # What becomes of a change, and of a fault
///
/// | what happens | what becomes of it |
/// |---|---|
/// | a pod becomes ready | it is an endpoint at once |
/// | a pod is being stopped, or not ready any more | it gets no more requests, and those that it has are finished |
/// | no pod is ready, and some that are being stopped still answer | these, until one is ready |
/// | there is no other pod either | an empty set that is stated, and taken as it is |
/// | the Service has no EndpointSlices, or is not there | an error, unless [`allow_empty`](Self::allow_empty) is set |
/// | several slices, or an address in two of them | one set. What is ready in one of them is ready |
/// | a pod with an IPv4 and an IPv6 address | one endpoint with both, which is named by the former |
/// | a slice has no such port, or cannot be read | it is skipped, with a warning that names it |
/// | the watch ends in time, as it does every few minutes | another one goes on from its version |
/// | that version has expired (410), or the watch breaks off | the slices are listed again at once |
/// | the same as soon as the watch has begun | an error; of a version that has expired, the second one in a row |
/// | the API server cannot be reached, is late or refuses | an error. The last set stays |
/// | it answers with something else | the same |
///
/// "Ready" is the condition `ready` of an endpoint, "being stopped" is `terminating`, and one that still answers is
/// `serving`. As for kube-proxy, a pod that is `ready` counts as that although it is being stopped: of a Service with
/// `publishNotReadyAddresses`, all pods are, until they are gone.
///
/// Errors are in the log, the metrics and the status of the cluster, and are followed by another try after a pause that
/// grows from 1 s to 30 s. Bookmarks, which the API server sends about once a minute, are successes that the status
/// shows.
///
/// # Credentials
///
/// Those of the first file of `$KUBECONFIG` that exists; or else, in a pod, of its service account; or else of
/// `~/.kube/config`. Of a kubeconfig, the current context is used, with certificates, tokens and plugins (`exec`); what
/// is not supported is an error that names it. They are read anew with each list. [`kubeconfig`](Self::kubeconfig) and
/// [`api_server`](Self::api_server) use others.
///
/// The account needs these rights, in the namespace of the Service:
///
/// ```yaml
/// apiVersion: rbac.authorization.k8s.io/v1
/// kind: Role
/// metadata:
///   name: discover-endpoints
///   namespace: default
/// rules:
/// - apiGroups: ["discovery.k8s.io"]
///   resources: ["endpointslices"]
///   verbs: ["list", "watch"]
/// ```
///
/// # How far it is tested
///
/// Against a server in the tests of this crate that speaks the protocol of lists and watches, with every event and
/// fault above. It has not been tested against a real API server.
#[derive(Debug)]
pub struct Kubernetes(SourceStream<KubernetesSettings>);

discovers!(Kubernetes);

impl Kubernetes {
    /// Discovers the pods of a Service of this namespace and name.
    ///
    /// # Errors
    ///
    /// A config error if one of them is no name that an object in Kubernetes can have.
    pub fn service(namespace: &str, service: &str) -> Result<Self, Error> {
        for (setting, name) in [("namespace", namespace), ("Service", service)] {
            if !is_label(name) {
                let why = format!("{name:?} is not of lower-case letters, digits and `-`");
                return Err(Error::config(setting, why));
            }
        }
        Ok(Self(SourceStream::new(KubernetesSettings {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            pods: PodSettings {
                place: EndpointPlace::new(&format!("http://{service}.{namespace}.svc"))?,
                port: ServicePort::Only,
                families: Families::Both,
                zone: None,
                client: ClientBuilder::default(),
            },
            access: AccessSettings::Anywhere,
            timeout: Duration::from_secs(10),
            watch: Duration::from_secs(300),
        })))
    }

    /// Sets which port is meant: the name that the Service has for it, or its number at the pods. Default: the only
    /// one. If there are several, slices are skipped, with a warning that has their names.
    #[must_use]
    pub fn port(mut self, port: &str) -> Self {
        self.0.settings.pods.port = match port.parse() {
            Ok(number) => ServicePort::Number(number),
            Err(_) => ServicePort::Named(port.to_owned()),
        };
        self
    }

    /// Sets the URL that the endpoints are reached by, with the address of a pod in place of the host: the scheme, the
    /// base path, and what `Host`, SNI and certificates go by. Default: `http://SERVICE.NAMESPACE.svc`.
    ///
    /// Its port is that of `Host` alone. Pods have those of the EndpointSlices.
    ///
    /// # Errors
    ///
    /// A config error if it is no URL of an endpoint, or if its host is an address.
    pub fn url(mut self, url: &str) -> Result<Self, Error> {
        Client::new(url)?;
        self.0.settings.pods.place = EndpointPlace::new(url)?;
        Ok(self)
    }

    /// Sets the zone in which this process runs. Default: none, and all endpoints are alike.
    ///
    /// If the Service has hints (`trafficDistribution`), the endpoints that are meant for the zone are the
    /// [tier](crate::EndpointSpec::priority) 0, and all others the tier 1, which is used when these are too few. If an
    /// endpoint has no hint, or none is for the zone, they do not count.
    ///
    /// The zone of a node is in its label `topology.kubernetes.io/zone`.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.0.settings.pods.zone = Some(zone.into());
        self
    }

    /// Uses IPv4 addresses only. Default: both families.
    #[must_use]
    pub fn ipv4_only(mut self) -> Self {
        self.0.settings.pods.families = Families::V4;
        self
    }

    /// Uses IPv6 addresses only. Default: both families.
    #[must_use]
    pub fn ipv6_only(mut self) -> Self {
        self.0.settings.pods.families = Families::V6;
        self
    }

    /// Sets how the endpoints are connected to. Default: a [`ClientBuilder`] as it is. Its name and its addresses for
    /// the host are replaced.
    #[must_use]
    pub fn client(mut self, settings: ClientBuilder) -> Self {
        self.0.settings.pods.client = settings;
        self
    }

    /// Uses the current context of a kubeconfig. Default: see [Credentials](#credentials).
    #[must_use]
    pub fn kubeconfig(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.settings.access = AccessSettings::Kubeconfig(path.into(), None);
        self
    }

    /// Uses a context of a kubeconfig.
    #[must_use]
    pub fn kubeconfig_context(
        mut self,
        path: impl Into<PathBuf>,
        context: impl Into<String>,
    ) -> Self {
        self.0.settings.access = AccessSettings::Kubeconfig(path.into(), Some(context.into()));
        self
    }

    /// Asks the API server at a URL without any credentials, such as `http://127.0.0.1:8001`, where `kubectl proxy` is.
    ///
    /// # Errors
    ///
    /// A config error if it is no URL.
    pub fn api_server(mut self, url: &str) -> Result<Self, Error> {
        Client::new(url)?;
        self.0.settings.access = AccessSettings::Open(url.to_owned());
        Ok(self)
    }

    /// Sets how long the API server may take to answer. Default: 10 s. Less than 100 ms counts as 100 ms.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.settings.timeout = timeout.max(SHORTEST_TIME);
        self
    }

    /// Sets how long a watch lasts until another one goes on, in whole seconds, less up to a fifth at random. Default:
    /// 5 minutes. It is 1 s at least, and 1 hour at most.
    ///
    /// A connection that was lost without a word is found by pings within a minute, if it is one of HTTP/2; otherwise
    /// by the end of the watch that does not come, half a minute after that.
    #[must_use]
    pub fn watch_time(mut self, time: Duration) -> Self {
        self.0.settings.watch = time.clamp(SHORTEST_WATCH_TIME, LONGEST_WATCH_TIME);
        self
    }

    /// Believes that there are no EndpointSlices. Default: it is an error, and the last endpoints stay.
    ///
    /// A Service that has slices, and no pod that is ready, states that it has no endpoints, which is believed anyway.
    #[must_use]
    pub fn allow_empty(mut self) -> Self {
        self.0.allows_empty = true;
        self
    }
}

/// Returns whether a name is a label of DNS (RFC 1123), as those of namespaces and Services are.
fn is_label(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_valid)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_objects() {
        assert!(Kubernetes::service("default", "api-2").is_ok());
        let long = "a".repeat(64);
        for name in ["", "Api", "a.b", "a/b", "-a", "a-", "a b", "a&b", &long] {
            for (namespace, service, setting) in [(name, "a", "namespace"), ("a", name, "Service")]
            {
                let error = Kubernetes::service(namespace, service).unwrap_err();
                assert!(error.to_string().contains(setting), "{error}");
            }
        }
    }
}
