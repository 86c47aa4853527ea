//! A Service as a source: its slices are listed, and watched from the version of the list on.
//!
//! A watch that ends in time is followed by one that goes on from its version, which costs the API server least. After
//! any other end the slices are listed again, and once an hour in any case: the versions of a cluster that was restored
//! from a backup have gone back, and a watch from a later one would be silent.

use std::{mem, time::Duration};

use tokio::time::Instant;

use super::{
    access::AccessSettings,
    api::{ApiFailure, SlicesApi},
    pods::{PodSettings, endpoints},
    slices::ServiceSlices,
    watch::{SlicesWatch, WatchClose},
};
use crate::{
    discover::{
        set_reader::{FoundSet, SetSource},
        source_stream::SourceSettings,
    },
    error::BoxError,
};

/// A watch that has lasted for less than this is a failure when it ends, and not followed by another one at once.
///
/// Watches are asked to last for a second at least.
const SHORTEST_WATCH: Duration = Duration::from_millis(500);

/// After what time the slices are listed again, however well the watches go on.
const LIST_AGAIN: Duration = Duration::from_secs(60 * 60);

/// How many times the list is begun again if it becomes too old while it is read.
const LISTS: usize = 3;

/// Which Service is watched, and how.
#[derive(Clone, Debug)]
pub(super) struct KubernetesSettings {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) pods: PodSettings,
    pub(super) access: AccessSettings,
    /// How long the API server may take to answer.
    pub(super) timeout: Duration,
    /// How long a watch lasts at most.
    pub(super) watch: Duration,
}

/// A Service as a source.
pub(super) struct KubernetesSource {
    settings: KubernetesSettings,
    slices: ServiceSlices,
    /// What the slices are kept up to date by, since the last list.
    following: Option<Following>,
    /// Whether the version of the last watch had expired as soon as it had begun.
    has_expired: bool,
}

/// What a watch has led to.
enum WatchStep {
    /// It goes on. `is_other` if the slices are others now.
    Event { is_other: bool },
    /// The slices have to be listed again. `has_expired` if its version had as soon as it had begun.
    Over { has_expired: bool },
}

/// The API server, and a watch of it.
struct Following {
    api: SlicesApi,
    watch: SlicesWatch,
    /// When the slices were listed.
    listed: Instant,
}

impl SourceSettings for KubernetesSettings {
    type Source = KubernetesSource;

    fn source(&self) -> KubernetesSource {
        KubernetesSource {
            settings: self.clone(),
            slices: ServiceSlices::new(),
            following: None,
            has_expired: false,
        }
    }
}

impl SetSource for KubernetesSource {
    async fn next_set(&mut self) -> Result<Option<FoundSet>, BoxError> {
        if let Some(mut following) = self.following.take() {
            match following.go_on(&self.settings, &mut self.slices).await? {
                WatchStep::Event { is_other } => {
                    self.following = Some(following);
                    return Ok(is_other.then(|| self.found()));
                }
                WatchStep::Over { has_expired } => {
                    // A list may take longer than its version is kept. If it always does, a pause is due.
                    if mem::replace(&mut self.has_expired, has_expired) && has_expired {
                        let what = "the version of the watch expired as soon as it had begun";
                        return Err(following.api.error(what));
                    }
                }
            }
        }
        let (slices, following) = list(&self.settings).await?;
        (self.slices, self.following) = (slices, Some(following));
        Ok(Some(self.found()))
    }
}

impl KubernetesSource {
    /// Returns the endpoints of the slices as they are.
    fn found(&self) -> FoundSet {
        let KubernetesSettings {
            namespace,
            service,
            pods,
            ..
        } = &self.settings;
        let service = format!("the Service {namespace}/{service}");
        endpoints(&self.slices, pods, &service)
    }
}

impl Following {
    /// Waits for an event and applies it.
    ///
    /// # Errors
    ///
    /// The watch has ended as soon as it had begun.
    async fn go_on(
        &mut self,
        settings: &KubernetesSettings,
        slices: &mut ServiceSlices,
    ) -> Result<WatchStep, BoxError> {
        let end = match self.watch.change(&self.api, slices).await {
            Ok(is_other) => return Ok(WatchStep::Event { is_other }),
            Err(end) => end,
        };
        let is_short = self.watch.begun.elapsed() < SHORTEST_WATCH;
        let failure = match end {
            WatchClose::InTime if is_short => {
                return Err(self.api.error("the watch ended as soon as it had begun"));
            }
            WatchClose::InTime if self.listed.elapsed() > LIST_AGAIN => {
                return Ok(WatchStep::Over { has_expired: false });
            }
            WatchClose::InTime => {
                let version = self.watch.version.clone();
                match SlicesWatch::begin(&self.api, version, watch_time(settings)).await {
                    Ok(watch) => {
                        self.watch = watch;
                        return Ok(WatchStep::Event { is_other: false });
                    }
                    Err(failure) => failure,
                }
            }
            WatchClose::Failed(ApiFailure::Other(error)) if is_short => return Err(error),
            WatchClose::Failed(failure) => failure,
        };
        tracing::debug!(
            ?failure,
            "the watch of EndpointSlices is over; they are listed again"
        );
        let has_expired = is_short && matches!(failure, ApiFailure::Expired);
        Ok(WatchStep::Over { has_expired })
    }
}

/// Lists the slices and begins to watch them.
async fn list(settings: &KubernetesSettings) -> Result<(ServiceSlices, Following), BoxError> {
    let KubernetesSettings {
        namespace,
        service,
        access,
        timeout,
        ..
    } = settings;
    // Read anew, since credentials are replaced from time to time.
    let access = access.open().await?;
    let api = SlicesApi::new(access, namespace, service, *timeout);
    for _ in 0..LISTS {
        let begun = async {
            let (slices, version) = api.list().await?;
            let watch = SlicesWatch::begin(&api, version, watch_time(settings)).await?;
            Ok((slices, watch))
        };
        match begun.await {
            Ok((slices, watch)) => {
                let listed = Instant::now();
                return Ok((slices, Following { api, watch, listed }));
            }
            Err(ApiFailure::Expired) => {}
            Err(ApiFailure::Other(error)) => return Err(error),
        }
    }
    Err("the list of EndpointSlices is too old as soon as it is read".into())
}

/// Returns how long a watch lasts: up to a fifth less than the settings say, at random, so that the watches of many
/// processes do not end at the same time.
fn watch_time(settings: &KubernetesSettings) -> Duration {
    settings.watch.mul_f64(1.0 - fastrand::f64() / 5.0)
}
