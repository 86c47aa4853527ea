//! The router: which path shows what.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{RawQuery, State},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderName, StatusCode, header};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::{Stream, StreamExt, wrappers::IntervalStream};

use super::{
    actions,
    feed::Feed,
    page::page,
    query::DryRun,
    source::{ChangingSource, StatusSource},
};

/// For how long a stream of events lasts. The page opens another one at once; a server that stops gracefully need not
/// wait for one that goes on for ever.
const STREAM: Duration = Duration::from_secs(60);

/// How soon a page asks for the next stream.
const RETRY: Duration = Duration::from_millis(250);

/// The status of clusters, to be mounted as an axum `Router`.
///
/// ```
/// use axum_upstream::{LoadBalance, status::StatusRouter};
///
/// let api = LoadBalance::builder().name("api").urls(["http://127.0.0.1:5000"])?;
/// let files = LoadBalance::builder().name("files").urls(["http://127.0.0.1:6000"])?;
/// let status = StatusRouter::default().cluster(&api).cluster(&files).actions(true).into_router();
/// # let _: axum::Router = status;
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StatusRouter {
    clusters: Vec<StatusSource>,
    changing: ChangingSource,
    actions: bool,
}

impl StatusRouter {
    /// Adds a cluster. Clusters should have different [names](crate::balance::LoadBalanceBuilder::name): of several
    /// with the same name, requests reach the first.
    #[must_use]
    pub fn cluster(mut self, cluster: impl Into<StatusSource>) -> Self {
        self.clusters.push(cluster.into());
        self
    }

    /// Adds what may be another one each time it is looked at.
    #[cfg(feature = "config")]
    pub(crate) fn changing(mut self, source: ChangingSource) -> Self {
        self.changing = source;
        self
    }

    /// Sets whether endpoints can be drained, restored and given another weight by requests. Default: false.
    ///
    /// Such a request needs the field `x-axum-upstream-action: 1`, which a page of another site cannot set, so that
    /// none can use the credentials of a person who is logged in. Who may do it is up to the authentication that the
    /// router is put behind.
    #[must_use]
    pub fn actions(mut self, actions: bool) -> Self {
        self.actions = actions;
        self
    }

    /// Makes the router.
    ///
    /// Mounted by `nest_service`, its path should end with a slash: the page fetches what is beside it.
    pub fn into_router(self) -> Router {
        let mut router = Router::new()
            .route("/", get(page))
            .route("/status.json", get(status))
            .route("/events", get(events))
            .route("/explain", get(explain));
        if self.actions {
            router = router
                .route(
                    "/endpoints/{cluster}/{endpoint}/drain",
                    post(actions::drain),
                )
                .route(
                    "/endpoints/{cluster}/{endpoint}/restore",
                    post(actions::restore),
                )
                .route(
                    "/endpoints/{cluster}/{endpoint}/weight",
                    post(actions::weight),
                );
        }
        router.with_state(Feed::new(self.clusters, self.changing, self.actions))
    }
}

/// Returns a router that shows the status of a cluster, and changes nothing. See the [module docs](super) for its
/// routes, and [`StatusRouter`] for several clusters and for changes.
pub fn status_router(cluster: impl Into<StatusSource>) -> Router {
    StatusRouter::default().cluster(cluster).into_router()
}

/// Returns the status of all clusters.
async fn status(State(feed): State<Arc<Feed>>) -> impl IntoResponse {
    json(feed.json())
}

/// Returns the status of all clusters each second, for a while.
async fn events(State(feed): State<Arc<Feed>>) -> impl IntoResponse {
    let fields = [
        (header::CACHE_CONTROL, "no-store"),
        // nginx holds a response back until a buffer is full, unless it is told not to.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (fields, Sse::new(each_second(feed)))
}

/// Returns the events of one stream.
fn each_second(feed: Arc<Feed>) -> impl Stream<Item = Result<Event, Infallible>> {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = Instant::now() + STREAM;
    IntervalStream::new(seconds)
        .take_while(move |now| *now < end)
        .map(move |_| {
            // JSON has no line breaks, and is valid UTF-8.
            let json = feed.json();
            Ok(Event::default()
                .retry(RETRY)
                .data(String::from_utf8_lossy(&json)))
        })
}

/// Returns where a request would go.
async fn explain(State(feed): State<Arc<Feed>>, RawQuery(query): RawQuery) -> Response {
    let DryRun { cluster, request } = match DryRun::parse(&query.unwrap_or_default()) {
        Ok(run) => run,
        Err(wrong) => return (StatusCode::BAD_REQUEST, wrong).into_response(),
    };
    match feed.cluster(cluster.as_deref()) {
        Some(cluster) => {
            let explanation = cluster.explain(&request);
            json(serde_json::to_vec(&explanation).unwrap_or_default().into()).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such cluster").into_response(),
    }
}

/// Returns a response with this JSON, which no cache keeps.
fn json(json: Bytes) -> impl IntoResponse {
    let fields = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (fields, json)
}
