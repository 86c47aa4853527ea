//! The status page and the metrics, on an address of their own.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use axum_upstream::metrics::DURATION_BUCKETS;
use http::{StatusCode, Uri, header};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, task::JoinSet, time::interval};

use crate::BoxError;

/// How often what the histograms have recorded is added up. Until then it takes memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// The content type of the text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4";

/// A listener for status and metrics. Made before the cluster, since metrics go to the recorder that is there then.
pub(crate) struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    metrics: PrometheusHandle,
}

impl Admin {
    /// Listens, and installs the recorder of metrics for the process.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it is not possible to listen there.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, BoxError> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let durations = Matcher::Suffix("_duration_seconds".into());
        let metrics = PrometheusBuilder::new()
            .set_buckets_for_metric(durations, &DURATION_BUCKETS)?
            .install_recorder()?;
        Ok(Self {
            listener,
            address,
            metrics,
        })
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the status, and the metrics, until the returned set is dropped.
    pub(crate) fn serve(self, status: Router) -> JoinSet<()> {
        let (rendered, kept) = (self.metrics.clone(), self.metrics);
        let metrics = move || async move { ([(header::CONTENT_TYPE, METRICS)], rendered.render()) };
        let mut app = status.route("/metrics", get(metrics));
        if self.address.ip().is_loopback() {
            app = app.layer(middleware::from_fn(local));
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // It never ends, and retries what fails.
            let _ = axum::serve(self.listener, app).await;
        });
        tasks.spawn(async move {
            let mut ticks = interval(UPKEEP);
            loop {
                ticks.tick().await;
                kept.run_upkeep();
            }
        });
        tasks
    }
}

/// Answers only requests that are meant for this machine.
///
/// A page of another site can have a name of its own resolved to 127.0.0.1, and then read what is answered to it (DNS
/// rebinding). It cannot choose the `Host` of such a request.
async fn local(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let uri: Option<Uri> = host.and_then(|host| host.to_str().ok()?.parse().ok());
    let is_local = uri.as_ref().and_then(Uri::host).is_some_and(|host| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok()
    });
    match is_local {
        true => next.run(request).await,
        false => (StatusCode::FORBIDDEN, "use the address or localhost").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn names_of_other_sites_are_refused() {
        let app: Router = Router::new()
            .route("/", get(|| async { "ok" }))
            .layer(middleware::from_fn(local));
        for (host, status) in [
            ("127.0.0.1:9901", 200),
            ("[::1]:9901", 200),
            ("localhost:9901", 200),
            ("localhost", 200),
            ("evil.example:9901", 403),
            ("127.0.0.1.evil.example", 403),
            ("", 403),
        ] {
            let request = Request::get("/").header("host", host);
            let request = request.body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{host}");
        }
    }
}
