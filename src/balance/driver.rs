//! Keeps the members as a [`Discover`] says.

use std::{collections::HashMap, future::poll_fn, hash::Hash, pin::pin, sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::JoinSet, time::sleep};
use tower::discover::{Change, Discover};

use super::cluster::Cluster;
use crate::{
    endpoint::EndpointSpec,
    error::{BoxError, Error},
};

/// How long to wait after an error of the stream before it is asked again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

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
    cluster.filling();
    driver.spawn_on(drive(discover, cluster), &runtime);
    Ok(driver)
}

async fn drive<D, S>(discover: D, cluster: Arc<Cluster<S>>)
where
    D: Discover,
    D::Key: Hash,
    D::Service: Into<EndpointSpec<S>>,
    D::Error: Into<BoxError>,
{
    let mut discover = pin!(discover);
    let mut names: HashMap<D::Key, Arc<str>> = HashMap::new();
    loop {
        match poll_fn(|cx| discover.as_mut().poll_discover(cx)).await {
            Some(Ok(Change::Insert(key, spec))) => {
                let spec = spec.into();
                let name: Arc<str> = spec.name().into();
                let before = names
                    .insert(key, name.clone())
                    .filter(|before| *before != name);
                // In one step: a cluster of one must not be empty in between.
                cluster.exchange(
                    before.as_ref().filter(|before| !is_named(&names, before)),
                    spec,
                );
            }
            Some(Ok(Change::Remove(key))) => {
                if let Some(name) = names.remove(&key).filter(|name| !is_named(&names, name)) {
                    cluster.remove(&name);
                }
            }
            // tower's own balancer fails with its discovery; a set that was good a moment ago is better than none.
            Some(Err(error)) => {
                let error = error.into();
                tracing::warn!(%error, "discovery failed; the last endpoints stay");
                cluster.filled();
                // A stream that fails all the time must not have a core to itself.
                sleep(RETRY_AFTER).await;
            }
            None => break,
        }
    }
    cluster.filled();
}

/// Whether another key has an endpoint of this name.
fn is_named<K>(names: &HashMap<K, Arc<str>>, name: &Arc<str>) -> bool {
    names.values().any(|other| other == name)
}
