//! Keeps the members as a [`Discover`] says.

use std::{
    collections::{HashMap, hash_map::Entry},
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
    time::sleep,
};
use tower::discover::{Change, Discover};

use super::{cluster::Cluster, members::Members};
use crate::{
    endpoint::EndpointSpec,
    error::{BoxError, Error},
};

/// How long to wait after an error of the stream before it is asked again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many changes that are there together are taken in together, at least. A change costs time that grows with the
/// number of members; in a larger cluster, as many as there are members, so that it does not grow with its square.
const MIN_BATCH: usize = 1024;

/// Reads `discover` in a task that ends when the returned set is dropped.
///
/// # Errors
///
/// A config error outside a tokio runtime.
pub(super) fn spawn<D, S>(discover: D, cluster: Arc<Cluster<S>>) -> Result<JoinSet<()>, Error>
where
    D: Discover + Send + 'static,
    D::Key: Hash + Send + 'static,
    D::Service: Into<EndpointSpec<S>> + Send,
    D::Error: Into<BoxError> + Send,
    S: Send + Sync + 'static,
{
    let runtime = Handle::try_current().map_err(|error| Error::config("discover", error))?;
    let mut driver = JoinSet::new();
    cluster.expect();
    driver.spawn_on(drive(discover, cluster), &runtime);
    Ok(driver)
}

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
    loop {
        let mut batch = Vec::new();
        let most = MIN_BATCH.max(names.by_key.len());
        let end = poll_fn(|cx| poll_batch(discover.as_mut(), cx, &mut names, &mut batch, most));
        // A channel of tokio's says that it has no more when the task has had its share of the turn, for which 128
        // messages are enough. A batch has a bound of its own.
        let end = unconstrained(end).await;
        if !batch.is_empty() {
            cluster.change(|members| batch.into_iter().for_each(|step| step.take(members)));
        }
        // At the latest now: a removal of what was never there also says what there is.
        cluster.tell();
        match end {
            // There may be more, and others have a turn first.
            BatchEnd::Full => yield_now().await,
            BatchEnd::Empty => {}
            // tower's own balancer fails with its discovery; a set that was good a moment ago is better than none.
            BatchEnd::Error(error) => {
                tracing::warn!(%error, "discovery failed; the last endpoints stay");
                // A stream that fails all the time must not have a core to itself.
                sleep(RETRY_AFTER).await;
            }
            BatchEnd::Stream => break,
        }
    }
}

/// Why there is no more in a batch.
enum BatchEnd {
    Full,
    /// The stream has no more for now.
    Empty,
    Error(BoxError),
    /// The stream has ended.
    Stream,
}

/// Waits for a change, and takes all that are there with it.
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
                // Before the other goes: a cluster of one must not be empty in between.
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

/// One step of a change.
enum Step<S> {
    Insert(EndpointSpec<S>),
    Remove(Arc<str>),
}

impl<S> Step<S> {
    fn take(self, members: &mut Members<S>) {
        match self {
            Self::Insert(spec) => members.insert(spec),
            Self::Remove(name) => members.remove(&name),
        }
    }
}

/// Which names the keys of discovery stand for. An endpoint lives as long as any key has its name.
struct Names<K> {
    by_key: HashMap<K, Arc<str>>,
    /// How many keys have a name.
    keys: HashMap<Arc<str>, usize>,
}

impl<K: Hash + Eq> Names<K> {
    /// From now on `key` stands for `name`. Returns the name it had, if no key has that any more.
    fn insert(&mut self, key: K, name: &Arc<str>) -> Option<Arc<str>> {
        *self.keys.entry(name.clone()).or_default() += 1;
        let before = self.by_key.insert(key, name.clone())?;
        self.unname(before)
    }

    /// From now on `key` stands for nothing. Returns the name it had, if no key has that any more.
    fn remove(&mut self, key: &K) -> Option<Arc<str>> {
        let before = self.by_key.remove(key)?;
        self.unname(before)
    }

    fn unname(&mut self, name: Arc<str>) -> Option<Arc<str>> {
        let Entry::Occupied(mut keys) = self.keys.entry(name) else {
            return None;
        };
        *keys.get_mut() -= 1;
        (*keys.get() == 0).then(|| keys.remove_entry().0)
    }
}

impl<K> Default for Names<K> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            keys: HashMap::new(),
        }
    }
}
