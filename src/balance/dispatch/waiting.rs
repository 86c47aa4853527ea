//! The wait of a request that could not be given to an endpoint at once.

use std::{future::Future, pin::Pin, sync::Arc};

use http::Request;
use tokio::task::JoinSet;

use crate::{
    balance::{
        cluster::Cluster,
        policy::{Affinity, Picked},
    },
    body::Body,
    error::Error,
};

/// Waits for an endpoint, and yields it with the request.
///
/// Boxed, because few requests ever wait: the state of the others stays small.
pub(super) type WaitFuture<S> =
    Pin<Box<dyn Future<Output = Result<(Picked<S>, Request<Body>), Error>> + Send>>;

/// Waits until an endpoint can be picked for `request`, or until there is none to be waited for.
///
/// `driver` is the task that follows discovery, which is kept alive meanwhile.
///
/// # Cancel safety
///
/// Dropping the future drops the request, which leaves the queue.
pub(super) fn wait<S: Send + Sync + 'static>(
    cluster: Arc<Cluster<S>>,
    driver: Option<Arc<JoinSet<()>>>,
    affinity: Affinity,
    request: Request<Body>,
    repeatable: bool,
) -> WaitFuture<S> {
    Box::pin(async move {
        let picked = cluster.wait(affinity, repeatable).await?;
        drop(driver);
        Ok((picked, request))
    })
}
