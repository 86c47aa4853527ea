//! What is sent each second: the reports of all clusters, serialized once for all who watch.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use super::source::{ChangingSource, StatusSource};
use crate::telemetry::{ClusterReport, millis};

/// For how long a report is as good as a new one. A little less than the second after which the next event is sent.
const FRESH: Duration = Duration::from_millis(900);

/// The reports of all clusters.
#[derive(Debug)]
pub(super) struct Feed {
    clusters: Vec<StatusSource>,
    changing: ChangingSource,
    /// Whether endpoints can be changed.
    pub(super) actions: bool,
    /// When counting began.
    started: SystemTime,
    /// The last report, and when it was made.
    last: Mutex<Option<(Instant, Bytes)>>,
}

/// What is serialized.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    started_unix_ms: u64,
    now_unix_ms: u64,
    actions: bool,
    clusters: Vec<ClusterReport>,
    /// What became of the last change of the configuration, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<serde_json::Value>,
}

impl Feed {
    /// Returns the feed of these clusters, which begins now.
    pub(super) fn new(
        clusters: Vec<StatusSource>,
        changing: ChangingSource,
        actions: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            clusters,
            changing,
            actions,
            started: SystemTime::now(),
            last: Mutex::default(),
        })
    }

    /// Returns the cluster of this name; without a name, the first one.
    pub(super) fn cluster(&self, name: Option<&str>) -> Option<StatusSource> {
        let mut clusters = self.all().into_iter();
        match name {
            Some(name) => clusters.find(|cluster| *cluster.name() == *name),
            None => clusters.next(),
        }
    }

    /// Returns the status in JSON. One that is less than a second old is used again, so that the cost does not grow
    /// with the number of those who watch.
    pub(super) fn json(&self) -> Bytes {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((made, json)) if made.elapsed() < FRESH => json.clone(),
            _ => {
                let json = self.make();
                *last = Some((Instant::now(), json.clone()));
                json
            }
        }
    }

    /// Forgets the last report, after a change that it does not show.
    pub(super) fn renew(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns all clusters as they are now.
    fn all(&self) -> Vec<StatusSource> {
        let changing = self.changing.clusters.as_ref();
        let changing = changing.map(|clusters| clusters()).unwrap_or_default();
        self.clusters.iter().cloned().chain(changing).collect()
    }

    /// Makes a report.
    fn make(&self) -> Bytes {
        let status = Status {
            version: env!("CARGO_PKG_VERSION"),
            started_unix_ms: millis(self.started),
            now_unix_ms: millis(SystemTime::now()),
            actions: self.actions,
            clusters: self.all().iter().map(StatusSource::report).collect(),
            configuration: self.changing.configuration.as_ref().map(|state| state()),
        };
        // Nothing in it can fail to be serialized: there are no maps with other keys than strings.
        serde_json::to_vec(&status).unwrap_or_default().into()
    }
}
