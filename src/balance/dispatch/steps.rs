//! What follows from the end of an attempt: the decisions of the loop.
//!
//! The states that they change are those of [`ResponseFuture`], in `future.rs`, which polls the attempts and calls
//! this.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use tower::Service;

use super::{
    attempt::{AttemptFuture, Attempted, answered},
    future::{Answer, DispatchProj, DispatchState, Next, ResponseFuture},
};
use crate::{
    balance::{
        cluster::Cluster,
        policy::{Affinity, Picked},
    },
    body::Body,
    endpoint::Endpoint,
    error::BoxError,
    record::Outcome,
    retry::RequestCopy,
};

/// The most endpoints that one request tries to connect to.
///
/// When this many cannot be connected to, the cause is likely common to all, and further attempts would only add load
/// and latency.
const MAX_ATTEMPTS: usize = 10;

/// How many frames are read of a response that is not passed on, so that its connection can be used again.
const DRAINED_FRAMES: usize = 4;

impl<S, B> ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
{
    /// Begins an attempt, in the place of the one that has ended.
    pub(super) fn begin(self: Pin<&mut Self>, picked: Picked<S>, request: Request<Body>) {
        let mut this = self.project();
        let per_try = this.cluster.retries().per_try();
        let attempt = AttemptFuture::begin(picked, request, this.record, *this.place, per_try);
        this.state.set(DispatchState::Attempt { attempt });
        this.hedge.reset();
    }

    /// Decides what follows from the end of an attempt: the heart of the loop.
    pub(super) fn next(
        self: Pin<&mut Self>,
        ended: Attempted<S, B>,
        cx: &mut Context<'_>,
    ) -> Next<S, Answer<B>> {
        let this = self.project();
        let rival = this.rival.is_some() || matches!(*this.state, DispatchState::Attempt { .. });
        match ended {
            Attempted::Answered {
                mut response,
                endpoint,
                mut in_flight,
            } => {
                let retries = this.cluster.retries();
                retries.took(this.hedge);
                if let Some(outcome) = retries.failed(response.status(), &in_flight) {
                    this.tried.push(endpoint.clone());
                    let copy = this.copy.as_mut();
                    if copy.is_some_and(|copy| retries.is_repeated(copy, outcome)) {
                        if rival {
                            return Next::Rival;
                        }
                        let again =
                            repeat(this.cluster, this.tried, *this.affinity, this.copy, outcome);
                        if let Some((picked, request)) = again {
                            drain(response.into_body(), cx);
                            tracing::debug!(?outcome, next = %picked.endpoint.name(), "trying another endpoint");
                            return Next::Again(picked, request);
                        }
                    }
                }
                this.cluster
                    .mark(&mut response, *this.affinity, endpoint.name());
                in_flight.ends(this.exchange.take());
                let answer = answered::<S, B>(response, in_flight, this.record);
                Next::Done(Ok(answer))
            }
            Attempted::Failed {
                error,
                endpoint,
                outcome,
                unsent,
            } => {
                // The guard of the failed attempt is gone by now, so the next pick sees its outcome.
                this.tried.push(endpoint);
                if rival {
                    return Next::Rival;
                }
                let again = match (unsent, outcome) {
                    (Some(request), _) if this.tried.len() < MAX_ATTEMPTS => this
                        .cluster
                        .pick(this.tried, *this.affinity, this.copy.is_some())
                        .map(|picked| (picked, request)),
                    (None, Some(outcome)) => {
                        let retries = this.cluster.retries();
                        let copy = this.copy.as_mut();
                        match copy.is_some_and(|copy| retries.is_repeated(copy, outcome)) {
                            true => {
                                repeat(this.cluster, this.tried, *this.affinity, this.copy, outcome)
                            }
                            false => None,
                        }
                    }
                    _ => None,
                };
                match again {
                    Some((picked, request)) => {
                        tracing::debug!(%error, next = %picked.endpoint.name(), "trying another endpoint");
                        Next::Again(picked, request)
                    }
                    // The last error says more than that there is no endpoint left.
                    None => Next::Done(Err(error)),
                }
            }
        }
    }

    /// Begins an attempt beside the first one, if it is time for that. Returns whether one has begun.
    pub(super) fn hedge(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        let (Some(copy), DispatchProj::Attempt { attempt }) = (this.copy, this.state.project())
        else {
            return false;
        };
        let retries = this.cluster.retries();
        if !retries.is_time(attempt.patience(), this.hedge, cx) || !copy.is_parallel() {
            return false;
        }
        this.tried.push(attempt.endpoint().clone());
        let picked = this.cluster.pick(this.tried, *this.affinity, true);
        this.tried.pop();
        let Some(picked) = picked.filter(|_| this.cluster.withdraw()) else {
            return false;
        };
        let Some(request) = copy.again(retries.policy()) else {
            return false;
        };
        tracing::debug!(
            slow = %attempt.endpoint().name(), next = %picked.endpoint.name(),
            "asking another endpoint as well"
        );
        let per_try = retries.per_try();
        let rival = AttemptFuture::begin(picked, request, this.record, *this.place, per_try);
        *this.rival = Some(Box::pin(rival));
        this.cluster.stats().hedge();
        this.cluster.metrics().hedged();
        true
    }

    /// Cancels the attempt that was not answered first, if there is one.
    pub(super) fn supersede(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let DispatchProj::Attempt { attempt } = this.state.as_mut().project() {
            attempt.supersede();
        }
        if let Some(mut rival) = this.rival.take() {
            rival.as_mut().supersede();
        }
        // What the first one holds, its connection for one, is of no use any more.
        this.state.set(DispatchState::Rival);
        *this.copy = None;
    }
}

/// Picks an endpoint for a request that is repeated, and makes the request. Returns `None` if there is no endpoint for
/// it, or if the budget is used up.
fn repeat<S: Send + Sync + 'static>(
    cluster: &Cluster<S>,
    tried: &[Arc<Endpoint<S>>],
    affinity: Affinity,
    copy: &mut Option<RequestCopy>,
    outcome: Outcome,
) -> Option<(Picked<S>, Request<Body>)> {
    let copy = copy.as_mut()?;
    // The last attempt is not for a probe, whose failure would be the client's.
    let repeatable = copy.has_another(cluster.retries().policy());
    let mut picked = cluster.pick(tried, affinity, repeatable);
    // An endpoint whose connection broke may well answer on another one. It would not answer otherwise than it has.
    if picked.is_none() && outcome.status().is_none() && outcome.is_sent() {
        picked = cluster.pick(&[], affinity, repeatable);
    }
    let picked = picked.filter(|_| cluster.withdraw())?;
    copy.repeat(cluster.retries().policy())
        .map(|request| (picked, request))
}

/// Reads what is there of a response that is not passed on. If that is all of it, its connection can be used again.
fn drain<B: http_body::Body>(body: B, cx: &mut Context<'_>) {
    let mut body = std::pin::pin!(body);
    for _ in 0..DRAINED_FRAMES {
        if body.is_end_stream() {
            return;
        }
        match body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(_))) => {}
            _ => return,
        }
    }
}
