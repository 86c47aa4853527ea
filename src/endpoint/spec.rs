//! What an endpoint is, as plain data.

use std::{fmt, num::NonZeroU32, str::FromStr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use tower::{Service, ServiceExt, load::Load, util::BoxCloneSyncService};

use crate::{
    body::Body,
    error::{BoxError, Error},
    upstream::{Client, ClientBuilder, canonical_url},
};

/// Any endpoint's service behind one type, so that unlike ones share a cluster. See [`EndpointSpec::boxed`].
pub type BoxService = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// A user's measure of an endpoint's load.
pub(super) type Metric = Arc<dyn Load<Metric = f64> + Send + Sync>;

/// An endpoint to be: its name, its weight and the service that reaches it.
///
/// The name is its identity within a cluster, and what logs and metrics call it.
#[derive(Clone)]
pub struct EndpointSpec<S = Client> {
    pub(super) name: Arc<str>,
    pub(super) weight: NonZeroU32,
    pub(super) priority: u8,
    pub(super) metric: Option<Metric>,
    /// An endpoint of the same name keeps its service, and takes the weight and the priority.
    keeps_service: bool,
    pub(super) service: S,
}

impl EndpointSpec {
    /// An endpoint at a URL, reached by a [`Client`] with default settings.
    ///
    /// `http://`, `https://` or `h2c://`, a host, an optional port and an optional base path, or `unix:` and the path
    /// of a socket; and an optional `;weight=N` at the end. The name is the URL without the weight and without a slash
    /// at its end.
    ///
    /// # Errors
    ///
    /// A config error that says what is wrong with the URL or the weight.
    pub fn url(url: &str) -> Result<Self, Error> {
        Self::url_with(&ClientBuilder::default(), url)
    }

    /// As [`url`](Self::url), with the settings of a [`ClientBuilder`].
    ///
    /// # Errors
    ///
    /// As [`url`](Self::url).
    pub fn url_with(client: &ClientBuilder, url: &str) -> Result<Self, Error> {
        let (url, weight) = match url.split_once(WEIGHT) {
            Some((url, weight)) => (url, parse_weight(weight)?),
            None => (url, NonZeroU32::MIN),
        };
        let mut spec = Self::from(client.build(url)?);
        spec.weight = weight;
        Ok(spec)
    }
}

impl<S> EndpointSpec<S> {
    /// An endpoint that is a service of your own.
    ///
    /// A request that reaches it has the `Host` that the client asked for, unless the proxy was told to send another; a
    /// [`Client`], or a cluster of clients, puts its own in its place. Responses may have any body; errors become 502.
    pub fn new(name: impl Into<Arc<str>>, service: S) -> Self {
        Self {
            name: name.into(),
            weight: NonZeroU32::MIN,
            priority: 0,
            metric: None,
            keeps_service: false,
            service,
        }
    }

    /// How much it should get compared with the others. Default 1.
    ///
    /// # Errors
    ///
    /// A config error for 0: to send an endpoint nothing, remove it, or
    /// [set its weight](crate::balance::Handle::set_weight) to 0 once it is in a cluster.
    pub fn weight(mut self, weight: u32) -> Result<Self, Error> {
        self.weight = parse_weight(&weight.to_string())?;
        Ok(self)
    }

    /// Which tier it is in. Default 0, the one that is asked first.
    ///
    /// The next tier gets what this one is too weak for, by Envoy's arithmetic: a tier takes all as long as 72 % of it
    /// are well, 70 % with half of it, nothing with none.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Its own measure of load, for [`P2c::reported`](crate::policy::P2c::reported): lower is better, and it is divided
    /// by the weight. What is no number is worse than any number.
    ///
    /// It is read on each pick that the endpoint is drawn for, by several threads at once, so it should only read. No
    /// lock is held meanwhile: it may look at the [`Handle`](crate::balance::Handle).
    #[must_use]
    pub fn load(mut self, load: impl Load<Metric = f64> + Send + Sync + 'static) -> Self {
        self.metric = Some(Arc::new(load));
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// What of an endpoint may change while its service stays: its weight and its priority.
    pub(crate) fn settings(&self) -> (u32, u8) {
        (self.weight.get(), self.priority)
    }

    /// In the place of an endpoint of the same name, changes its weight and its priority, and nothing else.
    pub(crate) fn keeping_service(mut self) -> Self {
        self.keeps_service = true;
        self
    }

    pub(crate) fn keeps_service(&self) -> bool {
        self.keeps_service
    }

    /// Wraps the service: a timeout, a rate limit, a header, on this endpoint alone.
    pub fn map<T>(self, wrap: impl FnOnce(S) -> T) -> EndpointSpec<T> {
        let Self {
            name,
            weight,
            priority,
            metric,
            keeps_service,
            service,
        } = self;
        EndpointSpec {
            name,
            weight,
            priority,
            metric,
            keeps_service,
            service: wrap(service),
        }
    }

    /// The same endpoint behind one type, so that a cluster can mix URLs, routers and other services.
    ///
    /// Costs two allocations a request: the future and the response body.
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

    /// As [`url`](Self::url).
    fn from_str(url: &str) -> Result<Self, Error> {
        Self::url(url)
    }
}

impl From<Client> for EndpointSpec {
    /// Named by its URL.
    fn from(client: Client) -> Self {
        let name = client.name().clone();
        Self {
            name,
            weight: NonZeroU32::MIN,
            priority: 0,
            metric: None,
            keeps_service: false,
            service: client,
        }
    }
}

/// What stands between a URL and a weight.
const WEIGHT: &str = ";weight=";

/// Returns the name of the endpoint that was inserted with `url`, or `None` if that is no URL: what was inserted as
/// `http://a/;weight=2` may be removed by that.
pub(crate) fn name_of_url(url: &str) -> Option<Arc<str>> {
    canonical_url(url.split_once(WEIGHT).map_or(url, |(url, _)| url))
}

fn parse_weight(weight: &str) -> Result<NonZeroU32, Error> {
    weight
        .parse()
        .map_err(|_| Error::config("endpoint weight", format!("{weight:?} is not 1 or more")))
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
}
