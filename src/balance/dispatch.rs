//! [`ResponseFuture`]: one request on its way through a cluster.
//!
//! It waits for discovery if it must, sends the request to the endpoint that the policy picked, and sends it to another
//! endpoint if nothing of it was sent. The loop over attempts is here, and not in a retry layer around the balancer,
//! because it needs what only the balancer knows: the endpoints that were tried, the affinity, and the guard that
//! records the outcome of each attempt at its endpoint.
//!
//! An attempt is safe to repeat only if not a byte of the request was sent. The endpoint's service says so by failing
//! with a [`SendError`] that still has the request in it, as a [`Client`](crate::upstream::Client) does when it cannot
//! connect. So nothing is buffered or cloned for the sake of another attempt. The method does not matter: RFC 9110
//! 9.2.2 forbids a proxy to retry a request that is not idempotent, and this one has not been tried yet. Every other
//! error is the response.

use std::{
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
use tower::{Service, util::Oneshot};

use super::{
    body::ResponseBody,
    cluster::Cluster,
    policy::{Affinity, Picked},
};
use crate::{
    body::Body,
    endpoint::{Endpoint, InFlight, retry_after},
    error::{BoxError, Error},
    record::{AttemptGuard, Info, Record, class_of_head},
    upstream::SendError,
};

/// The most endpoints that one request tries.
///
/// When this many cannot be connected to, the cause is likely common to all, and further attempts would only add load
/// and latency.
const MAX_ATTEMPTS: usize = 10;

pin_project! {
    /// The response future of a [`LoadBalance`](super::LoadBalance).
    ///
    /// It completes with the response head. The request is still in flight then, until the
    /// [`ResponseBody`](super::ResponseBody) ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels the attempt in progress, and the request no longer counts at its endpoint. That is a failure
    /// of the endpoint only if a deadline of the proxy in front has passed; otherwise the client is taken to have gone.
    // States:
    // - Wait: no endpoint could be picked. The request waits for discovery to report, or for the ready timeout.
    //   -> Attempt, or done with `NoEndpoint`.
    // - Attempt: one endpoint has the request.
    //   -> Attempt at another endpoint, after an error that returns the request; otherwise done.
    // The first pick is made by `new`, so nearly every future starts in Attempt.
    pub struct ResponseFuture<S>
    where
        S: Service<Request<Body>>,
    {
        cluster: Arc<Cluster<S>>,
        // Computed once from the request as it came, so that all attempts agree.
        affinity: Affinity,
        record: Arc<Record>,
        // How many clusters are around this one: an endpoint may be a `LoadBalance` itself.
        depth: u8,
        // The endpoints that could not be connected to. Each is tried once.
        tried: Vec<Arc<Endpoint<S>>>,
        #[pin]
        state: DispatchState<S>,
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
            endpoint: Arc<Endpoint<S>>,
            // Counts the request at the endpoint. Taken when the response is ready.
            in_flight: Option<InFlight>,
            // The call, after the service has become ready.
            #[pin]
            response: Oneshot<S, Request<Body>>,
        },
    }
}

/// Waits for an endpoint, and yields it with the request.
///
/// Boxed, because few requests ever wait: the state of the others stays small.
type WaitFuture<S> =
    Pin<Box<dyn Future<Output = Result<(Picked<S>, Request<Body>), Error>> + Send>>;

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
    pub(super) fn new(
        cluster: Arc<Cluster<S>>,
        tasks: Option<&Arc<JoinSet<()>>>,
        mut request: Request<Body>,
    ) -> Self {
        let record = request.body_mut().record().clone();
        let depth = request.body().depth();
        let affinity = cluster.affinity(&request);
        let state = match cluster.pick(&[], affinity) {
            Some(picked) => DispatchState::attempt(picked, request, &record, depth),
            None => {
                let (cluster, tasks) = (cluster.clone(), tasks.cloned());
                let wait = async move {
                    let picked = cluster.wait(affinity).await?;
                    drop(tasks);
                    Ok((picked, request))
                };
                DispatchState::Wait {
                    picked: Box::pin(wait),
                }
            }
        };
        Self {
            cluster,
            affinity,
            record,
            depth,
            tried: Vec::new(),
            state,
        }
    }
}

impl<S> DispatchState<S>
where
    S: Service<Request<Body>> + Clone,
{
    /// Begins an attempt at the endpoint that was picked, and records it.
    ///
    /// The service is called once it is ready, on a clone of its own. A service that stays pending keeps the request;
    /// what bounds that wait is a timeout of the service or of the proxy in front.
    fn attempt(
        picked: Picked<S>,
        mut request: Request<Body>,
        record: &Arc<Record>,
        depth: u8,
    ) -> Self {
        let Picked {
            endpoint,
            mut in_flight,
        } = picked;
        let body = request.body_mut();
        body.set_depth(depth.saturating_add(1));
        in_flight.begin(AttemptGuard::begin(record, endpoint.name(), depth), body);
        let response = Oneshot::new(endpoint.service(), request);
        Self::Attempt {
            endpoint,
            in_flight: Some(in_flight),
            response,
        }
    }
}

impl<S, B> Future for ResponseFuture<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (picked, request) = match this.state.as_mut().project() {
                DispatchProj::Wait { picked } => ready!(picked.as_mut().poll(cx))?,
                DispatchProj::Attempt {
                    endpoint,
                    in_flight,
                    response,
                } => {
                    let result = ready!(response.poll(cx));
                    // This is always `Some`: it is taken once, and then the state is replaced or the future is done. A
                    // future that is polled after its completion stays pending.
                    let Some(in_flight) = in_flight.take() else {
                        return Poll::Pending;
                    };
                    let error = match result {
                        Ok(mut response) => {
                            this.cluster
                                .mark(&mut response, *this.affinity, endpoint.name());
                            return Poll::Ready(Ok(answered(response, in_flight, this.record)));
                        }
                        Err(error) => error.into(),
                    };
                    let (error, request) = match failed(error, in_flight, endpoint) {
                        (error, Some(request)) => (error, request),
                        (error, None) => return Poll::Ready(Err(error)),
                    };
                    // The guard of the failed attempt is gone by now, so the next pick sees its outcome.
                    this.tried.push(endpoint.clone());
                    let next = match this.tried.len() < MAX_ATTEMPTS {
                        true => this.cluster.pick(this.tried, *this.affinity),
                        false => None,
                    };
                    // The last error says more than that there is no endpoint left.
                    let Some(picked) = next else {
                        return Poll::Ready(Err(error));
                    };
                    tracing::debug!(%error, next = %picked.endpoint.name(), "trying another endpoint");
                    (picked, request)
                }
            };
            this.state.set(DispatchState::attempt(
                picked,
                request,
                this.record,
                *this.depth,
            ));
        }
    }
}

/// Reports the response head to the load, and returns the response with a body that keeps the request in flight.
fn answered<B: http_body::Body>(
    mut response: Response<B>,
    mut in_flight: InFlight,
    record: &Arc<Record>,
) -> Response<ResponseBody<B>> {
    // gRPC reports failures with a 200: in a response without a message, `grpc-status` is in the header section.
    in_flight.answered(class_of_head(&response), retry_after(&response));
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

/// Reports the failure of an attempt to the load, and returns the error, with the request if nothing of it was sent.
///
/// The error gets the name of the endpoint. The request leaves the count when this returns.
fn failed<S>(
    error: BoxError,
    mut in_flight: InFlight,
    endpoint: &Endpoint<S>,
) -> (Error, Option<Request<Body>>) {
    let (error, unsent) = SendError::split(error);
    let error = error.at(endpoint.name());
    in_flight.failed(&error);
    (error, unsent)
}

impl<S: Service<Request<Body>>> fmt::Debug for ResponseFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("tried", &self.tried)
            .finish_non_exhaustive()
    }
}
