//! [`ResponseFuture`]: the states of a request, and the polling of its attempts.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::task::JoinSet;
use tower::Service;

use super::{
    attempt::{AttemptFuture, Attempted, answered, is_client},
    waiting::{self, WaitFuture},
};
use crate::{
    balance::{
        body::ResponseBody,
        cluster::Cluster,
        hedge_timer::HedgeTimer,
        policy::{Affinity, Picked},
    },
    body::Body,
    endpoint::Endpoint,
    error::{BoxError, Error},
    record::{ExchangeGuard, Record},
    retry::RequestCopy,
};

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
        pub(super) cluster: Arc<Cluster<S>>,
        // Computed once from the request as it came, so that all attempts agree.
        pub(super) affinity: Affinity,
        pub(super) record: Arc<Record>,
        // The end of the exchange, if there is no proxy around. It moves on with the response.
        pub(super) exchange: Option<ExchangeGuard>,
        // How many clusters are around this one, and the attempt there that this is a part of: an endpoint may be a
        // `LoadBalance` itself.
        pub(super) place: (u8, Option<usize>),
        // The endpoints of the attempts that have failed.
        pub(super) tried: Vec<Arc<Endpoint<S>>>,
        // From which the request is sent again. `None` if it is not, whatever happens.
        pub(super) copy: Option<RequestCopy>,
        #[pin]
        pub(super) state: DispatchState<S>,
        // The attempt beside the first one.
        pub(super) rival: Option<Pin<Box<AttemptFuture<S>>>>,
        pub(super) hedge: HedgeTimer,
    }
}

pin_project! {
    /// Where a [`ResponseFuture`] is; its definition lists the transitions.
    #[project = DispatchProj]
    pub(super) enum DispatchState<S>
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
    /// `tasks` has the one that follows discovery. A request that has to wait for it keeps it alive.
    pub(in crate::balance) fn new(
        cluster: Arc<Cluster<S>>,
        tasks: Option<&Arc<JoinSet<()>>>,
        mut request: Request<Body>,
    ) -> Self {
        let exchange = request.body_mut().begin_exchange();
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
        cluster.deposit(picked.as_ref());
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
                    tasks.cloned(),
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
            exchange,
            place,
            tried: Vec::new(),
            copy,
            state,
            rival: None,
        }
    }
}

/// What follows from the end of an attempt.
#[expect(
    clippy::large_enum_variant,
    reason = "an answer is about as large; its type is not known here"
)]
pub(super) enum Next<S, T> {
    /// The exchange has its response.
    Done(T),
    /// Another attempt begins.
    Again(Picked<S>, Request<Body>),
    /// The other attempt in progress decides.
    Rival,
}

/// What a [`ResponseFuture`] yields.
pub(super) type Answer<B> = Result<Response<ResponseBody<B>>, Error>;

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
                // By far the most frequent end, so it is not moved around.
                Poll::Ready(Attempted::Answered {
                    mut response,
                    endpoint,
                    mut in_flight,
                }) if !this
                    .cluster
                    .retries()
                    .may_fail(response.status(), &in_flight) =>
                {
                    this.cluster.retries().took(this.hedge);
                    this.cluster
                        .mark(&mut response, *this.affinity, endpoint.name());
                    *this.copy = None;
                    in_flight.ends(this.exchange.take());
                    if this.rival.is_some() {
                        self.as_mut().supersede();
                    }
                    let answer = answered::<S, B>(response, in_flight, &self.record);
                    return Poll::Ready(Ok(answer));
                }
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
                Next::Again(picked, request) => {
                    self.cluster.stats().retry();
                    self.cluster.metrics().retried();
                    self.as_mut().begin(picked, request);
                }
                Next::Rival => {}
            }
        }
    }
}

impl<S: Service<Request<Body>>> fmt::Debug for ResponseFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("tried", &self.tried)
            .finish_non_exhaustive()
    }
}
