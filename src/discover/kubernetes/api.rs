//! Requests to the API server: lists and watches of the slices of a Service.

use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, Uri, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::timeout;
use tower::ServiceExt;

use super::{
    access::ApiAccess,
    lines::{JsonLines, document},
    slices::{self, ServiceSlices},
};
use crate::{
    body::Body, discover::source_error::SourceError, error::BoxError, upstream::ClientBody,
};

/// How many slices a page of a list has. By default, Kubernetes puts up to a hundred endpoints into a slice.
const PAGE: usize = 100;

/// The most pages of a list: ten times as many as the most slices need. A server may have less on a page than it was
/// asked for.
const PAGES: usize = 10 * MOST / PAGE;

/// The most slices of a Service.
pub(super) const MOST: usize = 10_000;

/// The slices of one Service at the API server.
pub(super) struct SlicesApi {
    access: ApiAccess,
    /// The path and the query of the list.
    path: String,
    /// How long the server may take to answer.
    timeout: Duration,
}

/// Why the API server was not of use.
#[derive(Debug)]
pub(super) enum ApiFailure {
    /// The version that was asked for is not there any more.
    Expired,
    Other(BoxError),
}

/// A page of a list.
#[derive(Deserialize)]
struct SlicePage {
    metadata: ListMetadata,
    items: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
    /// What the next page is asked for by. Empty if this is the last one.
    #[serde(rename = "continue", default)]
    next: String,
}

/// How the API describes an error.
#[derive(Deserialize)]
struct ApiStatus {
    #[serde(default)]
    message: String,
    #[serde(default)]
    code: u16,
}

impl SlicesApi {
    /// Creates the slices of a Service, of which both names are valid.
    pub(super) fn new(
        access: ApiAccess,
        namespace: &str,
        service: &str,
        timeout: Duration,
    ) -> Self {
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices\
             ?labelSelector=kubernetes.io%2Fservice-name%3D{service}"
        );
        Self {
            access,
            path,
            timeout,
        }
    }

    /// Lists all slices, and returns the version of the list.
    ///
    /// # Errors
    ///
    /// [`ApiFailure::Expired`] if the list has become too old between two of its pages.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the list up.
    pub(super) async fn list(&self) -> Result<(ServiceSlices, String), ApiFailure> {
        let (mut slices, mut next) = (ServiceSlices::new(), String::new());
        for _ in 0..PAGES {
            let mut path = format!("{}&limit={PAGE}", self.path);
            if !next.is_empty() {
                path += &format!("&continue={next}");
            }
            let page = async {
                let body = self.get(&path).await?;
                self.read::<SlicePage>(body).await
            };
            let page = self.in_time(page).await?;
            slices.extend(page.items.into_iter().flatten().filter_map(slices::read));
            if slices.len() > MOST {
                return Err(self.fail(format!("there are more than {MOST} EndpointSlices")));
            }
            let before = std::mem::replace(&mut next, page.metadata.next);
            if next.is_empty() {
                return Ok((slices, page.metadata.resource_version));
            }
            if next == before {
                return Err(self.fail("the same page of the list would come again"));
            }
        }
        Err(self.fail(format!("the list has more than {PAGES} pages")))
    }

    /// Begins to watch the slices from a version on, for `lasts`. Returns the events.
    ///
    /// # Errors
    ///
    /// [`ApiFailure::Expired`] if the server does not have that version any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or what it returns, ends the watch.
    pub(super) async fn watch(
        &self,
        version: &str,
        lasts: Duration,
    ) -> Result<JsonLines, ApiFailure> {
        let path = format!(
            "{}&watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={}",
            self.path,
            lasts.as_secs().max(1)
        );
        let body = self.in_time(self.get(&path)).await?;
        Ok(JsonLines::new(body))
    }

    /// Sends a request, and returns the body of its response.
    async fn get(&self, path: &str) -> Result<ClientBody, ApiFailure> {
        let Ok(path) = path.parse::<Uri>() else {
            return Err(self.fail("its last answer led to no valid URL"));
        };
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path;
        let fields = request.headers_mut();
        let agent = concat!("axum-upstream/", env!("CARGO_PKG_VERSION"), " (discovery)");
        fields.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = self
            .access
            .authorization()
            .await
            .map_err(ApiFailure::Other)?
        {
            fields.insert(header::AUTHORIZATION, token);
        }
        let response = self.access.client.clone().oneshot(request).await;
        let response = response.map_err(|error| self.broken(error))?;
        let (head, body) = response.into_parts();
        match head.status {
            StatusCode::OK => Ok(body),
            StatusCode::GONE => Err(ApiFailure::Expired),
            status => {
                let said = self.read::<ApiStatus>(body).await;
                let said =
                    said.map_or_else(|_| String::new(), |said| format!(": {}", said.message));
                Err(self.fail(format!("{status}{said}")))
            }
        }
    }

    /// Reads a document.
    async fn read<T: DeserializeOwned>(&self, body: ClientBody) -> Result<T, ApiFailure> {
        let document = document(body)
            .await
            .and_then(|document| Ok(serde_json::from_value(document)?));
        document.map_err(|error| self.broken(error))
    }

    /// Gives an answer up that is late.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, ApiFailure>>,
    ) -> Result<T, ApiFailure> {
        let answer = timeout(self.timeout, answer).await;
        answer.unwrap_or_else(|_| Err(self.fail(format!("no answer within {:?}", self.timeout))))
    }

    /// Reads the error that a watch has for an event.
    pub(super) fn failure(&self, status: Value) -> ApiFailure {
        match serde_json::from_value(status) {
            Ok(ApiStatus { code: 410, .. }) => ApiFailure::Expired,
            Ok(ApiStatus { message, .. }) => self.fail(format!("the watch failed: {message}")),
            Err(error) => self.broken(error),
        }
    }

    /// Describes an answer that is not what it should be.
    pub(super) fn broken(&self, cause: impl Into<BoxError>) -> ApiFailure {
        let error = SourceError::new(self.access.client.url(), "the request failed");
        ApiFailure::Other(error.with(cause).into())
    }

    /// Describes what is wrong.
    pub(super) fn fail(&self, what: impl AsRef<str>) -> ApiFailure {
        ApiFailure::Other(self.error(what))
    }

    /// Describes what is wrong.
    pub(super) fn error(&self, what: impl AsRef<str>) -> BoxError {
        SourceError::new(self.access.client.url(), what).into()
    }
}
