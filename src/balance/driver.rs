//! The task that keeps a cluster's members as a [`Discover`] reports them.
//!
//! tower's own balancer polls its discovery from `poll_ready` only, so nothing changes without requests, and it fails
//! for good when discovery fails. Here a task of its own follows the stream, and the last set stays when the stream
//! ends or yields an error.
//!
//! The keys of a `Discover` and the names of endpoints need not correspond: two keys may stand for one endpoint, and a
//! key may get another one. [`Names`] counts keys per name; the cluster itself knows names alone.
//!
//! An error is retried after a pause that grows ([`DiscoveryBackoff`]): the stream is polled again, and a source that
//! needs a new connection makes it then. So no source has a timer of its own for that.
//!
//! The task ends with the stream, or is aborted when the last [`LoadBalance`](super::LoadBalance) is dropped. The
//! members then stay as they are.

use std::{
    collections::{HashMap, hash_map::Entry},
    error::Error as StdError,
    future::poll_fn,
    hash::Hash,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::{JoinSet, coop::unconstrained, yield_now},
    time::{Instant, sleep},
};
use tower::discover::{Change, Discover};

use super::{cluster::Cluster, discovery_backoff::DiscoveryBackoff, members::Members};
use crate::{
    endpoint::EndpointSpec,
    error::{BoxError, Error},
};

/// The bound on the changes of one batch, in a cluster of fewer members than this.
///
/// Applying a batch takes time that grows with the number of members. In a larger cluster the bound is therefore the
/// number of members, or else the time to report all of them would grow with the square of that number.
const MIN_BATCH: usize = 1024;

/// Adds to `tasks` one that reads `discover` and changes `cluster`.
///
/// From now on, requests wait for the first report of `discover`.
///
/// # Errors
///
/// A config error if this is called outside of a tokio runtime.
pub(super) fn spawn<D, S>(
    tasks: &mut JoinSet<()>,
    discover: D,
    cluster: Arc<Cluster<S>>,
) -> Result<(), Error>
where
    D: Discover + Send + 'static,
    D::Key: Hash + Send + 'static,
    D::Service: Into<EndpointSpec<S>> + Send,
    D::Error: Into<BoxError> + Send,
    S: Send + Sync + 'static,
{
    let runtime = Handle::try_current().map_err(|error| Error::config("discover", error))?;
    cluster.await_report();
    cluster.stats().follow();
    tasks.spawn_on(drive(discover, cluster), &runtime);
    Ok(())
}

/// Applies the changes of `discover` until its stream ends.
///
/// # Cancel safety
///
/// A batch is gathered and applied without an await between, so dropping the future never leaves a change half done.
async fn drive<D, S>(discover: D, cluster: Arc<Cluster<S>>)
where
    D: Discover,
    D::Key: Hash,
    D::Service: Into<EndpointSpec<S>>,
    D::Error: Into<BoxError>,
    S: Send + Sync + 'static,
{
    let mut discover = pin!(discover);
    let mut names = Names::default();
    let mut backoff = DiscoveryBackoff::default();
    loop {
        let mut batch = Vec::new();
        let most = MIN_BATCH.max(names.by_key.len());
        let end = poll_fn(|cx| poll_batch(discover.as_mut(), cx, &mut names, &mut batch, most));
        // A tokio channel returns `Pending` once the task has used up its cooperative budget, which 128 messages do.
        // That would split a batch. The batch has its own bound, after which the task yields.
        let end = unconstrained(end).await;
        // Changes that an error follows were reported all the same.
        let reported = match batch.is_empty() {
            true => matches!(end, BatchEnd::Full | BatchEnd::Empty),
            false => batch.iter().any(Step::is_report),
        };
        if !batch.is_empty() {
            cluster.change(|members| batch.into_iter().for_each(|step| step.take(members)));
        }
        // Even if nothing has changed: an error, the end of the stream and the removal of an unknown key are reports.
        cluster.tell();
        if reported {
            backoff.succeeded();
            cluster.metrics().discovered();
            cluster.stats().discovered();
        }
        match end {
            // There may be more, but other tasks get to run first.
            BatchEnd::Full => yield_now().await,
            BatchEnd::Empty => {}
            // tower's own balancer fails when its discovery fails. A set that was right a moment ago is better than
            // none.
            BatchEnd::Error(error) => {
                let retry_after = backoff.failed(Instant::now(), fastrand::f64());
                note_failure(&cluster, &error, retry_after);
                // A stream that fails on every poll must not take up a core.
                sleep(retry_after).await;
            }
            BatchEnd::Stream => break,
        }
    }
}

/// Reports an error of discovery, to the log, the metrics and the status.
fn note_failure<S>(cluster: &Cluster<S>, error: &BoxError, retry_after: Duration) {
    let error = &**error as &(dyn StdError + 'static);
    let snapshot = cluster.snapshot();
    let name = &snapshot.siblings.settings().cluster;
    tracing::warn!(
        cluster = %name,
        error,
        ?retry_after,
        "discovery failed; the last endpoints stay"
    );
    cluster.metrics().discovery_failed();
    cluster.stats().discovery_failed(error);
}

/// Why a batch ended. The batch may hold changes in every case.
enum BatchEnd {
    /// The batch has reached its bound; the stream may have more.
    Full,
    /// The stream has no more changes for now.
    Empty,
    /// The stream yielded an error. It may go on afterwards.
    Error(BoxError),
    /// The stream has ended, and must not be polled again.
    Stream,
}

/// Polls for a change, and gathers in `batch` all changes that are ready together, at most `most` of them.
///
/// Returns `Pending` only if no change is ready, and then the batch is empty. The removal of a key whose
/// name other keys have yields no step, so a batch may also be empty on `Ready`.
fn poll_batch<D, S>(
    mut discover: Pin<&mut D>,
    cx: &mut Context<'_>,
    names: &mut Names<D::Key>,
    batch: &mut Vec<Step<S>>,
    most: usize,
) -> Poll<BatchEnd>
where
    D: Discover,
    D::Key: Hash,
    D::Service: Into<EndpointSpec<S>>,
    D::Error: Into<BoxError>,
{
    for nth in 0..most {
        match discover.as_mut().poll_discover(cx) {
            Poll::Ready(Some(Ok(Change::Insert(key, spec)))) => {
                let spec = spec.into();
                // A key that gets another name: the insertion and the removal are in one batch, so no pick sees a
                // cluster without either.
                let unnamed = names.insert(key, &spec.shared_name());
                batch.push(Step::Insert(spec));
                batch.extend(unnamed.map(Step::Remove));
            }
            Poll::Ready(Some(Ok(Change::Remove(key)))) => {
                batch.extend(names.remove(&key).map(Step::Remove));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(BatchEnd::Error(error.into())),
            Poll::Ready(None) => return Poll::Ready(BatchEnd::Stream),
            Poll::Pending if nth == 0 => return Poll::Pending,
            Poll::Pending => return Poll::Ready(BatchEnd::Empty),
        }
    }
    Poll::Ready(BatchEnd::Full)
}

/// One step of a batch, by the endpoint's name rather than by its key.
enum Step<S> {
    /// Inserts the endpoint, or replaces the one of its name.
    Insert(EndpointSpec<S>),
    /// Removes the endpoint of this name.
    Remove(Arc<str>),
}

impl<S> Step<S> {
    /// Returns whether the discovery has found it, and not the cluster that this one replaces had it.
    fn is_report(&self) -> bool {
        match self {
            Self::Insert(spec) => !spec.is_of_former_cluster(),
            Self::Remove(_) => true,
        }
    }

    /// Applies the step.
    fn take(self, members: &mut Members<S>) {
        match self {
            Self::Insert(spec) => members.insert(spec),
            Self::Remove(name) => members.remove(&name),
        }
    }
}

/// The names that the keys of a discovery stand for.
///
/// An endpoint stays as long as any key has its name: a registry may list one address under two services.
///
/// Invariant: `keys` has exactly the names in `by_key`, each with the number of its keys.
struct Names<K> {
    /// The name of each key that was inserted and not removed.
    by_key: HashMap<K, Arc<str>>,
    /// How many keys have each name; never 0.
    keys: HashMap<Arc<str>, usize>,
}

impl<K: Hash + Eq> Names<K> {
    /// Makes `key` stand for `name`. Returns the name it had before, if no key has that name any more.
    fn insert(&mut self, key: K, name: &Arc<str>) -> Option<Arc<str>> {
        // Counted before the old name is let go, so that a key that keeps its name does not give it up.
        *self.keys.entry(name.clone()).or_default() += 1;
        let before = self.by_key.insert(key, name.clone())?;
        self.unname(before)
    }

    /// Removes `key`. Returns the name it had, if no key has that name any more. An unknown key is no error.
    fn remove(&mut self, key: &K) -> Option<Arc<str>> {
        let before = self.by_key.remove(key)?;
        self.unname(before)
    }

    /// Takes one key off the count of `name`. Returns the name if that was the last one.
    fn unname(&mut self, name: Arc<str>) -> Option<Arc<str>> {
        let Entry::Occupied(mut keys) = self.keys.entry(name) else {
            return None;
        };
        *keys.get_mut() -= 1;
        (*keys.get() == 0).then(|| keys.remove_entry().0)
    }
}

// Not derived: that would require `K: Default`.
impl<K> Default for Names<K> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            keys: HashMap::new(),
        }
    }
}
