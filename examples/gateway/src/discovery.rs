//! The endpoints of the cluster: those that the command line names, and those that sources find.

use std::{
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

#[cfg(feature = "dns")]
use axum_upstream::discover::Dns;
use axum_upstream::{EndpointSpec, Error, discover::Change, upstream::ClientBuilder};
use futures_core::Stream;
use tokio::time::{Sleep, sleep};

use crate::BoxError;

/// How long a source is left alone after an error. The pause doubles with each further one in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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
type SourceChange = Change<Arc<str>, EndpointSpec>;

/// The changes of one source.
type SourceStream = Pin<Box<dyn Stream<Item = Result<SourceChange, BoxError>> + Send>>;

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
    fn stream(
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

/// The endpoints of all sources, and those that are fixed, as one stream of changes.
///
/// The cluster pauses after an error, whichever source it is of. So one of several sources that fails is logged, and
/// paused here, and the others go on. The errors of a single source are those of the cluster, which shows them.
pub(crate) struct AllSources {
    /// Those that are fixed and have not been reported.
    fixed: VecDeque<EndpointSpec>,
    sources: Vec<PausableSource>,
    /// The source that is asked first.
    next: usize,
}

/// A source, and the pause that it is in.
struct PausableSource {
    name: String,
    changes: SourceStream,
    paused: Option<Pin<Box<Sleep>>>,
    /// How long the next pause will be.
    pause: Duration,
}

/// The number of a source and the name of an endpoint there: two sources may have one endpoint.
type SourceKey = (usize, Arc<str>);

impl AllSources {
    /// Returns the endpoints of these URLs and sources.
    ///
    /// # Errors
    ///
    /// Returns a config error if a URL is none.
    pub(crate) fn new(
        urls: &[String],
        sources: &[DiscoverySource],
        client: &ClientBuilder,
        name_servers: &[SocketAddr],
    ) -> Result<Self, Error> {
        let fixed = urls.iter().map(|url| EndpointSpec::url_with(client, url));
        let sources = sources.iter().map(|source| {
            Ok(PausableSource {
                name: source.to_string(),
                changes: source.stream(client, name_servers)?,
                paused: None,
                pause: FIRST_PAUSE,
            })
        });
        Ok(Self {
            fixed: fixed.collect::<Result<_, Error>>()?,
            sources: sources.collect::<Result<_, Error>>()?,
            next: 0,
        })
    }
}

impl PausableSource {
    /// Polls for the next change. If the source is not `alone`, an error is a pause.
    fn poll_change(
        &mut self,
        cx: &mut Context<'_>,
        alone: bool,
    ) -> Poll<Option<Result<SourceChange, BoxError>>> {
        loop {
            if let Some(pause) = &mut self.paused {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.paused = None;
            }
            match self.changes.as_mut().poll_next(cx) {
                Poll::Ready(Some(Err(error))) if !alone => {
                    tracing::warn!(source = self.name, error, "discovery has failed");
                    self.paused = Some(Box::pin(sleep(self.pause)));
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
                polled => {
                    if let Poll::Ready(Some(Ok(_))) = polled {
                        self.pause = FIRST_PAUSE;
                    }
                    return polled;
                }
            }
        }
    }
}

impl Stream for AllSources {
    type Item = Result<Change<SourceKey, EndpointSpec>, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let count = self.sources.len();
        if let Some(spec) = self.fixed.pop_front() {
            let key = (count, Arc::from(spec.name()));
            return Poll::Ready(Some(Ok(Change::Insert(key, spec))));
        }
        for _ in 0..count {
            let number = self.next;
            let polled = self.sources[number].poll_change(cx, count == 1);
            if let Poll::Ready(Some(change)) = polled {
                return Poll::Ready(Some(change.map(|change| match change {
                    Change::Insert(name, spec) => Change::Insert((number, name), spec),
                    Change::Remove(name) => Change::Remove((number, name)),
                })));
            }
            self.next = (number + 1) % count;
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    type Item = Result<SourceChange, BoxError>;

    struct Told(UnboundedReceiver<Item>);

    impl Stream for Told {
        type Item = Item;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
            self.0.poll_recv(cx)
        }
    }

    fn source() -> (UnboundedSender<Item>, PausableSource) {
        let (tell, told) = unbounded_channel();
        let source = PausableSource {
            name: "told".into(),
            changes: Box::pin(Told(told)),
            paused: None,
            pause: FIRST_PAUSE,
        };
        (tell, source)
    }

    fn insert(url: &str) -> Item {
        Ok(Change::Insert(url.into(), EndpointSpec::url(url)?))
    }

    /// What comes next: `+` or `-`, the number of the source, and the name.
    async fn next(all: &mut AllSources) -> String {
        let change = poll_fn(|cx| Pin::new(&mut *all).poll_next(cx)).await;
        match change {
            Some(Ok(Change::Insert((number, name), _))) => format!("+{number} {name}"),
            Some(Ok(Change::Remove((number, name)))) => format!("-{number} {name}"),
            Some(Err(error)) => error.to_string(),
            None => "end".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_holds_up_no_other() {
        let (one, first) = source();
        let (other, second) = source();
        let fixed = EndpointSpec::url("http://a").unwrap();
        let mut all = AllSources {
            fixed: [fixed].into(),
            sources: vec![first, second],
            next: 0,
        };
        one.send(Err("no".into())).unwrap();
        one.send(insert("http://b")).unwrap();
        other.send(insert("http://b")).unwrap();
        assert_eq!(next(&mut all).await, "+2 http://a");
        assert_eq!(next(&mut all).await, "+1 http://b");
        let start = tokio::time::Instant::now();
        assert_eq!(next(&mut all).await, "+0 http://b");
        assert!(start.elapsed() >= FIRST_PAUSE);
        // One that has ended does not end the others.
        drop(one);
        other.send(Ok(Change::Remove("http://b".into()))).unwrap();
        assert_eq!(next(&mut all).await, "-1 http://b");
    }

    #[tokio::test(start_paused = true)]
    async fn the_errors_of_one_alone_are_passed_on() {
        let (tell, told) = source();
        let mut all = AllSources {
            fixed: VecDeque::new(),
            sources: vec![told],
            next: 0,
        };
        tell.send(Err("no".into())).unwrap();
        assert_eq!(next(&mut all).await, "no");
    }

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
