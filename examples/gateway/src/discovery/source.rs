//! One source of endpoints, by its name on the command line.

#[cfg(not(all(
    feature = "dns",
    feature = "file",
    feature = "etcd",
    feature = "kubernetes"
)))]
use std::task::{Context, Poll};
use std::{fmt, net::SocketAddr, path::PathBuf, pin::Pin, str::FromStr, sync::Arc};

#[cfg(feature = "dns")]
use axum_upstream::discover::Dns;
use axum_upstream::{EndpointSpec, Error, discover::Change, upstream::ClientBuilder};
use futures_core::Stream;

use crate::BoxError;

/// Where endpoints are found: `KIND:ARG` on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DiscoverySource {
    /// The addresses of the name in a URL.
    Dns(String),
    /// The SRV records of the service in a URL.
    Srv(String),
    /// The lines of a file.
    File(PathBuf),
    /// The keys of a prefix in etcd, by a URL.
    Etcd(String),
    /// The endpoints of a service of Kubernetes.
    Kubernetes {
        namespace: String,
        service: String,
        /// By name or number. `None` takes the only one.
        port: Option<String>,
    },
}

/// What is missing for a kind of source.
macro_rules! built_without {
    ($feature:literal) => {
        Err(concat!(
            "this gateway was built without the feature ",
            $feature,
            ": build it with --features ",
            $feature
        ))
    };
}

impl FromStr for DiscoverySource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((_, "")) => Err("names nothing"),
            Some(("dns" | "srv", _)) if cfg!(not(feature = "dns")) => built_without!("dns"),
            Some(("dns", url)) => Ok(Self::Dns(url.to_owned())),
            Some(("srv", url)) => Ok(Self::Srv(url.to_owned())),
            Some(("file", _)) if cfg!(not(feature = "file")) => built_without!("file"),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("etcd", _)) if cfg!(not(feature = "etcd")) => built_without!("etcd"),
            Some(("etcd", url)) => Ok(Self::Etcd(url.to_owned())),
            Some(("kubernetes", _)) if cfg!(not(feature = "kubernetes")) => {
                built_without!("kubernetes")
            }
            Some(("kubernetes", service)) => {
                let wrong = "must be NAMESPACE/SERVICE or NAMESPACE/SERVICE:PORT";
                let (namespace, rest) = service.split_once('/').ok_or(wrong)?;
                let (service, port) = match rest.split_once(':') {
                    Some((service, port)) => (service, Some(port.to_owned())),
                    None => (rest, None),
                };
                Ok(Self::Kubernetes {
                    namespace: namespace.to_owned(),
                    service: service.to_owned(),
                    port,
                })
            }
            _ => Err("must begin with dns:, srv:, file:, etcd: or kubernetes:"),
        }
    }
}

impl fmt::Display for DiscoverySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(url) => write!(f, "dns:{url}"),
            Self::Srv(url) => write!(f, "srv:{url}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Etcd(url) => write!(f, "etcd:{url}"),
            Self::Kubernetes {
                namespace,
                service,
                port,
            } => {
                write!(f, "kubernetes:{namespace}/{service}")?;
                port.iter().try_for_each(|port| write!(f, ":{port}"))
            }
        }
    }
}

/// A change of one source.
pub(super) type SourceChange = Change<Arc<str>, EndpointSpec>;

/// The changes of one source.
pub(super) type SourceStream = Pin<Box<dyn Stream<Item = Result<SourceChange, BoxError>> + Send>>;

impl DiscoverySource {
    /// Returns the changes of this source.
    ///
    /// # Errors
    ///
    /// Returns a config error if a URL is none.
    #[cfg_attr(
        not(feature = "dns"),
        expect(unused_variables, reason = "no name is looked up")
    )]
    pub(super) fn stream(
        &self,
        client: &ClientBuilder,
        name_servers: &[SocketAddr],
    ) -> Result<SourceStream, Error> {
        match self {
            #[cfg(feature = "dns")]
            Self::Dns(url) => Ok(Box::pin(of_dns(Dns::addresses(url)?, client, name_servers))),
            #[cfg(feature = "dns")]
            Self::Srv(url) => Ok(Box::pin(of_dns(Dns::srv(url)?, client, name_servers))),
            #[cfg(feature = "file")]
            Self::File(path) => {
                let file = axum_upstream::discover::WatchedFile::new(path);
                Ok(Box::pin(file.client(client.clone())))
            }
            #[cfg(feature = "etcd")]
            Self::Etcd(url) => {
                let etcd = axum_upstream::discover::Etcd::prefix(url)?;
                Ok(Box::pin(etcd.client(client.clone())))
            }
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes {
                namespace,
                service,
                port,
            } => {
                let found = axum_upstream::discover::Kubernetes::service(namespace, service)?;
                let found = match port {
                    Some(port) => found.port(port),
                    None => found,
                };
                Ok(Box::pin(found.client(client.clone())))
            }
            #[cfg(not(all(
                feature = "dns",
                feature = "file",
                feature = "etcd",
                feature = "kubernetes"
            )))]
            _ => Ok(Box::pin(NoChanges)),
        }
    }
}

/// Sets how a name is looked up.
#[cfg(feature = "dns")]
fn of_dns(dns: Dns, client: &ClientBuilder, name_servers: &[SocketAddr]) -> Dns {
    let dns = dns.client(client.clone());
    let servers = name_servers.iter();
    servers.fold(dns, |dns, server| dns.name_server(*server))
}

/// The changes of a source that cannot be asked for, because it is not built in.
#[cfg(not(all(
    feature = "dns",
    feature = "file",
    feature = "etcd",
    feature = "kubernetes"
)))]
struct NoChanges;

#[cfg(not(all(
    feature = "dns",
    feature = "file",
    feature = "etcd",
    feature = "kubernetes"
)))]
impl Stream for NoChanges {
    type Item = Result<SourceChange, BoxError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_written_as_it_is_read() {
        for text in [
            "dns:http://api.internal:8080",
            "srv:http://_http._tcp.api.internal",
            "file:/etc/servers",
            "etcd:http://127.0.0.1:2379/services/api/",
            "kubernetes:default/api",
            "kubernetes:default/api:http",
        ] {
            let source: Result<DiscoverySource, _> = text.parse();
            match source {
                Ok(source) => assert_eq!(source.to_string(), text),
                Err(wrong) => assert!(wrong.contains("built without"), "{wrong}"),
            }
        }
        for text in ["", "dns", "dns:", "http://a"] {
            assert!(text.parse::<DiscoverySource>().is_err(), "{text}");
        }
    }
}
