//! [`ResponseFuture`]: one request on its way through a cluster, the loop over its attempts.
//!
//! ```text
//! pick ─► attempt ─► outcome ─► is it repeated? ─► pick another endpoint ─► attempt ─► …
//!                                └─ no: the answer, or the error, is the response
//! ```
//!
//! The loop is here, and not in a retry layer around the balancer, because it needs what only the balancer knows: the
//! endpoints that were tried, the affinity, and the guard that records the outcome of each attempt at its endpoint.
//!
//! There are three reasons for another attempt:
//!
//! - *Nothing was sent.* The endpoint's service says so by failing with a [`SendError`](crate::upstream::SendError) that
//!   still has the request in it, as a [`Client`](crate::upstream::Client) does when it cannot connect. Nothing has to be
//!   buffered or cloned for that, the method does not matter, and no budget is spent: RFC 9110 9.2.2 forbids a proxy to
//!   retry a request that is not idempotent, and this one has not been tried yet.
//! - *The attempt failed*, and the [retry policy](crate::retry) says that the request is repeated. It is sent from the
//!   copy that was made of it, within the budget.
//! - *The endpoint is slow*: hedging is on and its delay has passed, or the endpoint was found not to answer at all. A
//!   second attempt then runs beside the first, within the same budget, and the first acceptable answer counts.

mod attempt;
mod hedge_timer;
mod per_try;
mod waiting;

use std::{
    any::TypeId,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Extensions, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tokio::task::JoinSet;
use tower::Service;

pub(super) use self::hedge_timer::HedgeTimer;
use self::{
    attempt::{AttemptFuture, Attempted},
    waiting::WaitFuture,
};
use super::{
    body::ResponseBody,
    cluster::Cluster,
    policy::{Affinity, Picked},
};
use crate::{
    body::Body,
    endpoint::{Endpoint, InFlight},
    error::{BoxError, Error},
    record::{Info, Outcome, Record},
    retry::RequestCopy,
    upstream::Client,
};

/// The most endpoints that one request tries to connect to.
///
/// When this many cannot be connected to, the cause is likely common to all, and further attempts would only add load
/// and latency.
const MAX_ATTEMPTS: usize = 10;

/// How many frames are read of a response that is not passed on, so that its connection can be used again.
const DRAINED_FRAMES: usize = 4;

pin_project! {
    /// The response future of a [`LoadBalance`](super::LoadBalance).
    ///
    /// It completes with the response head. The request is still in flight then, until the
    /// [`ResponseBody`](super::ResponseBody) ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels the attempts in progress, and the request no longer counts at their endpoints. That is a
    /// failure of an endpoint only if a deadline of the proxy in front has passed; otherwise the client is taken to
    /// have gone.
    // States:
    // - Wait: no endpoint could be picked. The request waits for discovery to report, or for room.
    //   -> Attempt, or done with an error.
    // - Attempt: one endpoint has the request. There may be a rival beside it.
    //   -> Attempt at another endpoint; Rival, if the attempt failed while there is one; otherwise done.
    // - Rival: the first attempt has failed, and the rival goes on.
    //   -> Attempt at another endpoint; otherwise done.
    // The first pick is made by `new`, so nearly every future starts in Attempt.
    pub struct ResponseFuture<S>
    where
        S: Service<Request<Body>>,
    {
        cluster: Arc<Cluster<S>>,
        // Computed once from the request as it came, so that all attempts agree.
        affinity: Affinity,
        record: Arc<Record>,
        // How many clusters are around this one, and the attempt there that this is a part of: an endpoint may be a
        // `LoadBalance` itself.
        place: (u8, Option<usize>),
        // The endpoints of the attempts that have failed.
        tried: Vec<Arc<Endpoint<S>>>,
        // From which the request is sent again. `None` if it is not, whatever happens.
        copy: Option<RequestCopy>,
        #[pin]
        state: DispatchState<S>,
        // The attempt beside the first one.
        rival: Option<Pin<Box<AttemptFuture<S>>>>,
        hedge: HedgeTimer,
    }
}

pin_project! {
    /// Where a [`ResponseFuture`] is; its definition lists the transitions.
    #[project = DispatchProj]
    enum DispatchState<S>
    where
        S: Service<Request<Body>>,
    {
        // Waits for an endpoint, and keeps the request meanwhile.
        Wait { picked: WaitFuture<S> },
        // Waits for the response head of one endpoint.
        Attempt {
            #[pin]
            attempt: AttemptFuture<S>,
        },
        // Waits for that of the rival.
        Rival,
    }
}

impl<S> ResponseFuture<S>
where
    S: Service<Request<Body>> + Clone + Send + Sync + 'static,
{
    /// Picks an endpoint and prepares the first attempt.
    ///
    /// The request is counted at its endpoint from here on, not from the first poll: requests that are created in a
    /// burst and polled later must see each other.
    ///
    /// `driver` is the task that follows discovery. A request that has to wait for it keeps it alive.
    pub(super) fn new(
        cluster: Arc<Cluster<S>>,
        driver: Option<&Arc<JoinSet<()>>>,
        mut request: Request<Body>,
    ) -> Self {
        let record = request.body_mut().record().clone();
        let place = (request.body().depth(), request.body().attempt());
        let affinity = cluster.affinity(&request);
        let copy = cluster.retries().copy(&mut request);
        if let Some(copy) = copy.as_ref().filter(|_| is_client::<S>()) {
            request.body_mut().lend_head(copy.head().clone());
        }
        let picked = match cluster.has_queue() {
            // Those that wait come first.
            true => None,
            false => cluster.pick(&[], affinity, copy.is_some()),
        };
        let state = match picked {
            Some(picked) => DispatchState::Attempt {
                attempt: AttemptFuture::begin(
                    picked,
                    request,
                    &record,
                    place,
                    cluster.retries().per_try(),
                ),
            },
            None => DispatchState::Wait {
                picked: waiting::wait(
                    cluster.clone(),
                    driver.cloned(),
                    affinity,
                    request,
                    copy.is_some(),
                ),
            },
        };
        Self {
            hedge: HedgeTimer::default(),
            cluster,
            affinity,
            record,
            place,
            tried: Vec::new(),
            copy,
            state,
            rival: None,
        }
    }
}

/// Returns whether the endpoints' service is the crate's client itself: what is sent to it then reaches it as it is.
fn is_client<S: 'static>() -> bool {
    TypeId::of::<S>() == TypeId::of::<Client>()
}

/// What follows from the end of an attempt.
enum Next<S, T> {
    /// The exchange has its response.
    Done(T),
    /// Another attempt begins.
    Again(Picked<S>, Request<Body>),
    /// The other attempt in progress decides.
    Rival,
}

/// What a [`ResponseFuture`] yields.
type Answer<B> = Result<Response<ResponseBody<B>>, Error>;

impl<S, B> Future for ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
{
    type Output = Answer<B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            let first = match this.state.as_mut().project() {
                DispatchProj::Wait { picked } => {
                    let (picked, request) = ready!(picked.as_mut().poll(cx))?;
                    self.as_mut().begin(picked, request);
                    continue;
                }
                DispatchProj::Attempt { attempt } => attempt.poll(cx),
                DispatchProj::Rival => Poll::Pending,
            };
            let ended = match first {
                Poll::Ready(ended) => {
                    // The future of the attempt is dropped, but for the one case in which that is to be told why.
                    this.state.set(DispatchState::Rival);
                    ended
                }
                Poll::Pending => match this.rival.as_mut().map(|rival| rival.as_mut().poll(cx)) {
                    Some(Poll::Ready(ended)) => {
                        *this.rival = None;
                        ended
                    }
                    pending => {
                        if pending.is_none() && self.as_mut().hedge(cx) {
                            continue;
                        }
                        return Poll::Pending;
                    }
                },
            };
            match self.as_mut().next(ended, cx) {
                Next::Done(answer) => {
                    self.as_mut().supersede();
                    return Poll::Ready(answer);
                }
                Next::Again(picked, request) => self.as_mut().begin(picked, request),
                Next::Rival => {}
            }
        }
    }
}

impl<S, B> ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
{
    /// Begins an attempt, in the place of the one that has ended.
    fn begin(self: Pin<&mut Self>, picked: Picked<S>, request: Request<Body>) {
        let mut this = self.project();
        let per_try = this.cluster.retries().per_try();
        let attempt = AttemptFuture::begin(picked, request, this.record, *this.place, per_try);
        this.state.set(DispatchState::Attempt { attempt });
        this.hedge.reset();
    }

    /// Decides what follows from the end of an attempt: the heart of the loop.
    fn next(
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
                in_flight,
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
                Next::Done(Ok(answered(response, in_flight, this.record)))
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
    fn hedge(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
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
        let Some(picked) = picked.filter(|_| retries.withdraw()) else {
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
        true
    }

    /// Cancels the attempt that was not answered first, if there is one.
    fn supersede(self: Pin<&mut Self>) {
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
    let mut picked = cluster.pick(tried, affinity, true);
    // An endpoint whose connection broke may well answer on another one. It would not answer otherwise than it has.
    if picked.is_none() && outcome.status().is_none() && outcome.is_sent() {
        picked = cluster.pick(&[], affinity, true);
    }
    let picked = picked.filter(|_| cluster.retries().withdraw())?;
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

/// Returns the response with a body that keeps the request in flight.
fn answered<B: http_body::Body>(
    mut response: Response<B>,
    in_flight: InFlight,
    record: &Arc<Record>,
) -> Response<ResponseBody<B>> {
    inform(response.extensions_mut(), record);
    // The body of a 101 is empty and at its end. The tunnel takes it along, and ends the request with it.
    let hold = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    response.map(|body| ResponseBody::new(body, in_flight, hold))
}

/// Adds the [`Info`] to the response's extensions, unless an inner cluster or client has done so.
///
/// That one shows the same record, so a second insertion would only allocate again.
fn inform(extensions: &mut Extensions, record: &Arc<Record>) {
    if extensions.get::<Info>().is_none() {
        extensions.insert(Info::new(record.clone()));
    }
}

impl<S: Service<Request<Body>>> fmt::Debug for ResponseFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("tried", &self.tried)
            .finish_non_exhaustive()
    }
}
