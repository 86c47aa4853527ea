//! [`EndpointSpec`]: what an endpoint is, as plain data.
//!
//! It is what users, discovery and [`Handle`](crate::balance::Handle) give to a cluster, which makes an
//! [`Endpoint`](super::member::Endpoint) of it.

use std::{fmt, num::NonZeroU32, str::FromStr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use tower::{Service, ServiceExt, load::Load, util::BoxCloneSyncService};

use crate::{
    body::Body,
    error::{BoxError, Error},
    upstream::{Client, ClientBuilder, canonical_url, redacted},
};

/// The service of any endpoint behind one type, so that unlike endpoints can share a cluster. See
/// [`EndpointSpec::boxed`].
pub type BoxService = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// A user's measure of an endpoint's load. Lower is better.
pub(super) type Metric = Arc<dyn Load<Metric = f64> + Send + Sync>;

/// The description of an endpoint: its name, its settings and the service that reaches it.
///
/// The name is the endpoint's identity within a cluster: inserting another endpoint of the same name replaces it. Logs,
/// errors and [`Info`](crate::Info) refer to the endpoint by its name.
///
/// See the [module docs](crate::endpoint) for an example.
#[derive(Clone)]
pub struct EndpointSpec<S = Client> {
    pub(super) name: Arc<str>,
    pub(super) weight: NonZeroU32,
    pub(super) priority: u8,
    pub(super) metric: Option<Metric>,
    /// Whether an endpoint of the same name keeps its service and only takes the settings.
    keeps_service: bool,
    /// Whether it was in the cluster that this one replaces, and the discovery has not named it yet.
    is_former: bool,
    /// The client that the service sends by, whatever layers are around it. `None` for a service of the user's.
    pub(super) client: Option<Client>,
    pub(super) service: S,
}

impl EndpointSpec {
    /// Describes an endpoint at a URL, reached by a [`Client`] with default settings.
    ///
    /// The URL is `http://`, `https://` or `h2c://`, a host, an optional port and an optional base path; or `unix:` and
    /// the path of a socket. Either may end with `;weight=N`. The name is the URL without the weight and without a
    /// slash at its end.
    ///
    /// # Errors
    ///
    /// Returns a config error that says what is wrong with the URL or the weight.
    pub fn url(url: &str) -> Result<Self, Error> {
        Self::url_with(&ClientBuilder::default(), url)
    }

    /// Describes an endpoint at a URL, reached by a [`Client`] with these settings.
    ///
    /// # Errors
    ///
    /// Returns an error as [`url`](Self::url) does.
    pub fn url_with(client: &ClientBuilder, url: &str) -> Result<Self, Error> {
        let (url, weight) = match url.split_once(WEIGHT) {
            // What was split may be a password, of which only the whole URL shows the end.
            Some((_, weight)) if weight.contains('@') => {
                let why = format!("that of {:?} is not 1 or more", redacted(url));
                return Err(Error::config(WEIGHT_SETTING, why));
            }
            Some((url, weight)) => (url, parse_weight(weight)?),
            None => (url, NonZeroU32::MIN),
        };
        let mut spec = Self::from(client.build(url)?);
        spec.weight = weight;
        Ok(spec)
    }
}

impl<S> EndpointSpec<S> {
    /// Describes an endpoint that is a service of your own: an axum `Router`, a mock, a cluster inside of the cluster.
    ///
    /// The service receives requests with the `Host` that the client sent, unless the proxy was told to send another;
    /// it is a [`Client`] that replaces it by its own. Responses may have any body. Errors become 502.
    pub fn new(name: impl Into<Arc<str>>, service: S) -> Self {
        Self {
            name: name.into(),
            weight: NonZeroU32::MIN,
            priority: 0,
            metric: None,
            keeps_service: false,
            is_former: false,
            client: None,
            service,
        }
    }

    /// Sets how many requests the endpoint should get in proportion to the others. Default 1.
    ///
    /// # Errors
    ///
    /// Returns a config error for 0. To send an endpoint no requests, remove it, or
    /// [set its weight](crate::balance::Handle::set_weight) to 0 once it is in a cluster.
    pub fn weight(mut self, weight: u32) -> Result<Self, Error> {
        self.weight = parse_weight(&weight.to_string())?;
        Ok(self)
    }

    /// Sets the tier of the endpoint. Default 0, the one that is used first.
    ///
    /// The next tier gets the requests that this one is too weak for, by Envoy's arithmetic: a tier takes all requests
    /// as long as 72 % of its endpoints are well, 70 % of them with half of its endpoints, and none with no endpoint.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Sets a load measure of your own, for [`P2c::reported`](crate::policy::P2c::reported). Lower is better. It is
    /// divided by the weight, and NaN is worse than any number. Other policies ignore it.
    ///
    /// It is read on each pick that draws the endpoint, by several threads at once, so it should be cheap. No lock is
    /// held meanwhile, so it may use the cluster's [`Handle`](crate::balance::Handle).
    #[must_use]
    pub fn load(mut self, load: impl Load<Metric = f64> + Send + Sync + 'static) -> Self {
        self.metric = Some(Arc::new(load));
        self
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name without copying it.
    pub(crate) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// Returns what may change while the service stays and can be compared: the weight and the priority.
    pub(crate) fn settings(&self) -> (u32, u8) {
        (self.weight.get(), self.priority)
    }

    /// Makes the insertion of this spec change only the settings of an endpoint of the same name, and keep its service.
    pub(crate) fn keeping_service(mut self) -> Self {
        self.keeps_service = true;
        self
    }

    /// Returns whether an endpoint of the same name keeps its service.
    pub(crate) fn keeps_service(&self) -> bool {
        self.keeps_service
    }

    /// Makes this the spec of an endpoint of the cluster that another one replaces: to insert it is no report of a
    /// discovery.
    #[cfg(all(
        feature = "config",
        any(
            feature = "dns",
            feature = "etcd",
            feature = "file",
            feature = "kubernetes"
        )
    ))]
    pub(crate) fn of_former_cluster(mut self) -> Self {
        self.is_former = true;
        self
    }

    /// Returns whether the insertion of this spec is no report of a discovery.
    pub(crate) fn is_of_former_cluster(&self) -> bool {
        self.is_former
    }

    /// Wraps the service in a middleware for this endpoint alone, such as a timeout or a rate limit.
    pub fn map<T>(self, wrap: impl FnOnce(S) -> T) -> EndpointSpec<T> {
        let Self {
            name,
            weight,
            priority,
            metric,
            keeps_service,
            is_former,
            client,
            service,
        } = self;
        EndpointSpec {
            name,
            weight,
            priority,
            metric,
            keeps_service,
            is_former,
            client,
            service: wrap(service),
        }
    }

    /// Boxes the service, so that a cluster can mix URLs, routers and other services.
    ///
    /// This costs two allocations per request, for the future and the response body.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use axum_upstream::{EndpointSpec, LoadBalance};
    ///
    /// let router: Router = Router::new().route("/", get(|| async { "in this process" }));
    /// let mixed = LoadBalance::builder().endpoints([
    ///     EndpointSpec::url("http://127.0.0.1:5000")?.boxed(),
    ///     EndpointSpec::new("in-process", router).boxed(),
    /// ])?;
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    pub fn boxed<B>(self) -> EndpointSpec<BoxService>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.map(|service| {
            let service = service
                .map_response(|response| response.map(Body::new))
                .map_err(Into::into);
            BoxCloneSyncService::new(service)
        })
    }
}

impl FromStr for EndpointSpec {
    type Err = Error;

    /// Parses a URL as [`url`](Self::url) does.
    fn from_str(url: &str) -> Result<Self, Error> {
        Self::url(url)
    }
}

#[cfg(feature = "config")]
impl EndpointSpec {
    /// Takes over the service of another spec, and so its connections, if both are of the same URL.
    pub(crate) fn sharing_service(mut self, other: &Self) -> Self {
        if self.service.url() == other.service.url() {
            self.client.clone_from(&other.client);
            self.service = other.service.clone();
        }
        self
    }
}

impl From<Client> for EndpointSpec {
    /// Describes an endpoint that is named by the client's URL, with a weight of 1.
    fn from(client: Client) -> Self {
        let name = client.name().clone();
        Self {
            name,
            weight: NonZeroU32::MIN,
            priority: 0,
            metric: None,
            keeps_service: false,
            is_former: false,
            client: Some(client.clone()),
            service: client,
        }
    }
}

/// What separates a URL from a weight. `;` is allowed in paths (RFC 3986 3.3), so a path may not contain this.
const WEIGHT: &str = ";weight=";

/// Returns the name of the endpoint that was inserted with `url`, or `None` if that is no URL. So an endpoint that was
/// inserted as `http://a/;weight=2` can be removed by the same string.
pub(crate) fn name_of_url(url: &str) -> Option<Arc<str>> {
    canonical_url(url.split_once(WEIGHT).map_or(url, |(url, _)| url))
}

/// What the weight is called in errors.
const WEIGHT_SETTING: &str = "endpoint weight";

/// Parses a weight of at least 1.
fn parse_weight(weight: &str) -> Result<NonZeroU32, Error> {
    weight
        .parse()
        .map_err(|_| Error::config(WEIGHT_SETTING, format!("{weight:?} is not 1 or more")))
}

impl<S> fmt::Debug for EndpointSpec<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointSpec")
            .field("name", &self.name)
            .field("weight", &self.weight)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_carry_a_weight() {
        let spec = EndpointSpec::url("http://a:1/base;weight=3").unwrap();
        assert_eq!((spec.name(), spec.weight.get()), ("http://a:1/base", 3));
        for url in [
            "http://a;weight=0",
            "http://a;weight=x",
            "http://a;weight=-1",
            "http://a;weight=",
            "http://a;weight=1;weight=2",
        ] {
            assert!(
                EndpointSpec::url(url)
                    .unwrap_err()
                    .to_string()
                    .contains("endpoint weight"),
                "{url}"
            );
        }
    }

    #[test]
    fn a_weight_within_a_password_does_not_show_it() {
        for url in [
            "http://user:secret;weight=2@a",
            "http://user:sec;weight=secret@a",
            "http://user:secret;weight=2;weight=secret@a;weight=2",
            "http://user:secret@secret;weight=2@a",
            "user:secret;weight=2@a",
        ] {
            let error = EndpointSpec::url(url).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("sec"), "{url}: {shown}");
            assert!(shown.contains("***@a"), "{url}: {shown}");
        }
    }
}
