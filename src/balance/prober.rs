//! The task that checks the endpoints of a cluster, and tells their loads what it finds.
//!
//! It follows the members: each one that may be picked has a task of its own, which makes one check after the other
//! until the endpoint has left. One task per endpoint rather than one schedule of all, because a check that waits for a
//! slow endpoint, and a `Watch` that waits for a change, then hold up no other. They share the slots, which bound how
//! many checks are in progress.
//!
//! What a check is, and how many of them open or shut an endpoint, is decided in [`health`](crate::health); what a shut
//! endpoint means, in [`Load::availability`](crate::endpoint::Load::availability).
//!
//! The tasks end when the last [`LoadBalance`](super::LoadBalance) is dropped. The endpoints then stay open or shut as
//! they are.

use std::{collections::HashMap, mem, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout_at},
};
use tower::{Service, ServiceExt};

use super::{cluster::Cluster, policy::Endpoints};
use crate::{
    body::Body,
    clock::after,
    endpoint::{Endpoint, Load},
    error::{BoxError, Error},
    health::{HealthChange, HealthCheck, Probe, Thresholds},
    upstream::SendError,
};

/// The most checks of a cluster that are in progress at once.
///
/// It bounds the connections and the work that checks of a large cluster cause at one moment. With the default timeout
/// of 10 s and interval of 15 s, 24 endpoints that do not answer are checked on time; where more are silent, each is
/// checked less often.
const SLOTS: usize = 16;

/// Returns whether an endpoint gets no requests until a check of it has passed.
pub(super) fn is_awaited(check: Option<&HealthCheck>) -> bool {
    check.is_some_and(HealthCheck::is_required_before_use)
}

/// Spawns a task that checks the endpoints of `cluster`, if there is a check. The task is aborted when the returned set
/// is dropped; without a check, the set is empty.
///
/// `seed` is that of the random numbers which spread the checks over time.
///
/// # Errors
///
/// A config error if there is a check and this is called outside of a tokio runtime.
pub(super) fn spawn<S, B>(
    check: Option<HealthCheck>,
    cluster: Arc<Cluster<S>>,
    seed: u64,
) -> Result<JoinSet<()>, Error>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut tasks = JoinSet::new();
    let Some(check) = check else {
        return Ok(tasks);
    };
    let runtime = Handle::try_current().map_err(|error| Error::config("health_check", error))?;
    let prober = Prober {
        check,
        rng: fastrand::Rng::with_seed(seed),
        slots: Arc::new(Semaphore::new(SLOTS)),
        checked: HashMap::new(),
        tasks: JoinSet::new(),
    };
    tasks.spawn_on(prober.run(cluster), &runtime);
    Ok(tasks)
}

/// What checks the endpoints of one cluster.
///
/// Dropping it aborts all checks, since it owns their tasks.
struct Prober {
    check: HealthCheck,
    rng: fastrand::Rng,
    /// A permit for each check that may be in progress.
    slots: Arc<Semaphore>,
    /// The endpoints that are checked, by name.
    checked: HashMap<Arc<str>, Checked>,
    tasks: JoinSet<()>,
}

/// An endpoint that is checked. Dropping this ends its checks.
struct Checked {
    /// Its identity: an endpoint that is replaced under its name has another load.
    load: Arc<Load>,
    task: AbortHandle,
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    /// Follows the members for as long as it is polled.
    async fn run<S, B>(mut self, cluster: Arc<Cluster<S>>)
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        loop {
            self.follow(&cluster.snapshot().active);
            cluster.members_changed().await;
        }
    }

    /// Checks these endpoints from now on, and no others. Those that are checked already go on as they are.
    fn follow<S, B>(&mut self, endpoints: &Endpoints<S>)
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut before = mem::take(&mut self.checked);
        for endpoint in endpoints {
            let same = before
                .remove(endpoint.name())
                .filter(|checked| Arc::ptr_eq(&checked.load, endpoint.load()));
            let checked = same.unwrap_or_else(|| self.begin(endpoint.clone()));
            self.checked.insert(endpoint.name().clone(), checked);
        }
        // The set keeps what has ended until it is asked.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Begins to check an endpoint.
    fn begin<S, B>(&mut self, endpoint: Arc<Endpoint<S>>) -> Checked
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let load = endpoint.load().clone();
        let rng = self.rng.fork();
        let task = check(endpoint, self.check.clone(), self.slots.clone(), rng);
        Checked {
            load,
            task: self.tasks.spawn(task),
        }
    }
}

/// Checks an endpoint, again and again.
///
/// # Cancel safety
///
/// Dropping the future cancels the check in progress, whose result is then unknown, and gives its slot to another.
async fn check<S, B>(
    endpoint: Arc<Endpoint<S>>,
    check: HealthCheck,
    slots: Arc<Semaphore>,
    mut rng: fastrand::Rng,
) where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let service = || {
        let service = endpoint.service();
        // Whether anything was sent does not matter: a check is not sent elsewhere.
        service.map_err(|error| SendError::split(error.into()).0)
    };
    let mut thresholds = Thresholds::new(&check);
    let mut probe = Probe::new(check.clone());
    // So that the checks of endpoints that were added together spread over the interval.
    let mut interval = check.second_after(rng.f64());
    // The semaphore is never closed.
    while let Ok(slot) = slots.acquire().await {
        let next = after(Instant::now(), interval);
        let result = probe.check(service, || endpoint.connect()).await;
        drop(slot);
        record(&endpoint, thresholds.checked(result));
        while let Ok(state) = timeout_at(next, probe.reported()).await {
            record(&endpoint, thresholds.reported(state));
        }
        interval = check.next_after(rng.f64());
    }
}

/// Tells the endpoint's load, and the log, what has changed.
fn record<S>(endpoint: &Endpoint<S>, change: Option<HealthChange>) {
    let (load, name) = (endpoint.load(), endpoint.name());
    match change {
        Some(HealthChange::Passed) => {
            load.check_passed();
            tracing::debug!(endpoint = %name, "health check passed");
        }
        Some(HealthChange::Recovered) => {
            load.check_passed();
            tracing::info!(endpoint = %name, "health check passed; the endpoint gets requests again");
        }
        Some(HealthChange::Shut(reason)) => {
            load.check_failed(&reason.to_string());
            tracing::warn!(endpoint = %name, %reason, "health check failed; the endpoint gets no requests");
        }
        None => {}
    }
}
