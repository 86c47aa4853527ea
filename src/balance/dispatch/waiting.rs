//! The wait of a request that could not be given to an endpoint at once.
//!
//! What it may wait for, in this order:
//!
//! 1. the first report of discovery, up to the ready timeout;
//! 2. the first endpoint of an empty cluster, if a hook is there to wake it;
//! 3. room at an endpoint, in the queue, if all that are usable are full.
//!
//! Nothing else is waited for: a cluster of which no endpoint answers fails its requests at once.

use std::{future::Future, pin::Pin, sync::Arc};

use http::Request;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    balance::{
        cluster::Cluster,
        policy::{Affinity, Picked},
        queueing::Queueing,
    },
    body::Body,
    clock::after,
    error::{Error, ErrorKind},
    limit::Notice,
};

/// Waits for an endpoint, and yields it with the request.
///
/// Boxed, because few requests ever wait: the state of the others stays small.
pub(super) type WaitFuture<S> =
    Pin<Box<dyn Future<Output = Result<(Picked<S>, Request<Body>), Error>> + Send>>;

/// Waits until an endpoint can be picked for `request`, or until there is none to be waited for.
///
/// `tasks` has the one that follows discovery, which is kept alive meanwhile.
///
/// # Errors
///
/// - `NoEndpoint` if there is no endpoint to be waited for, or none has come in time.
/// - `Overloaded` if all endpoints are full, and the queue is full, too, or its time is over.
///
/// # Cancel safety
///
/// Dropping the future drops the request, which leaves the queue. It is counted at an endpoint only when the future
/// completes.
pub(super) fn wait<S: Send + Sync + 'static>(
    cluster: Arc<Cluster<S>>,
    tasks: Option<Arc<JoinSet<()>>>,
    affinity: Affinity,
    request: Request<Body>,
    repeatable: bool,
) -> WaitFuture<S> {
    // Code of the user, and of the request as it came.
    let key = cluster
        .queueing()
        .map_or(0, |queueing| queueing.key(&request));
    Box::pin(async move {
        let wait = WaitingRequest {
            cluster: &cluster,
            affinity,
            repeatable,
        };
        let picked = wait.picked(key).await?;
        drop(tasks);
        Ok((picked, request))
    })
}

/// A request that waits.
struct WaitingRequest<'a, S> {
    cluster: &'a Cluster<S>,
    affinity: Affinity,
    repeatable: bool,
}

impl<S: Send + Sync + 'static> WaitingRequest<'_, S> {
    /// Waits for an endpoint, and counts the request there.
    async fn picked(&self, key: u64) -> Result<Picked<S>, Error> {
        self.cluster.reported().await;
        if self.cluster.is_empty() {
            self.cluster.woken().await;
        }
        match self.cluster.queueing() {
            Some(queueing) if queueing.is_busy() || self.cluster.is_full() => {
                self.queued(queueing, key).await
            }
            _ => self.now().ok_or_else(|| self.cluster.nothing_picked()),
        }
    }

    /// Waits in the queue for room at an endpoint.
    async fn queued(&self, queueing: &Queueing, key: u64) -> Result<Picked<S>, Error> {
        let deadline = after(Instant::now(), queueing.deadline());
        let metrics = self.cluster.metrics();
        let overloaded = |cause, why| {
            metrics.queue_rejected(cause);
            Error::new(ErrorKind::Overloaded).detail(why)
        };
        let mut ticket = queueing
            .queue()
            .join(key)
            .ok_or_else(|| overloaded("full", "the queue is full"))?;
        let _queued = metrics.queued();
        loop {
            match timeout_at(deadline, ticket.notice()).await {
                Ok(Notice::Look) => {}
                Ok(Notice::PushedOut) => {
                    let why = "the queue is full of requests of the same key";
                    return Err(overloaded("pushed_out", why));
                }
                Err(_) => {
                    let why = "no room within the queue's deadline";
                    return Err(overloaded("deadline", why));
                }
            }
            if let Some(picked) = self.now() {
                return Ok(picked);
            }
            // All may have been ejected or removed meanwhile, and then no request ends that would give room.
            if !self.cluster.is_full() {
                return Err(self.cluster.nothing_picked());
            }
            ticket.look_again();
        }
    }

    /// Picks an endpoint, if one can be picked now.
    fn now(&self) -> Option<Picked<S>> {
        self.cluster.pick(&[], self.affinity, self.repeatable)
    }
}
