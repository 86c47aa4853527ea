//! One request on its way: wait for an endpoint, make an attempt, and on to another endpoint if that was not sent.

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
    record::{AttemptGuard, Info, Record, grpc_verdict, status_verdict},
    upstream::SendError,
};

/// No request tries more endpoints than this to find one it can connect to: when so many are gone, more attempts would
/// be a load of their own.
const MAX_ATTEMPTS: usize = 10;

pin_project! {
    /// The response future of a [`LoadBalance`](super::LoadBalance).
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels the attempt under way; nothing stays counted.
    // States:
    // - Wait: there is no endpoint yet; discovery has to say what there is.
    // - Attempt: one endpoint has the request. An error that gives the request back, because nothing of it was sent,
    //   leads to another attempt; everything else is the answer.
    pub struct ResponseFuture<S>
    where
        S: Service<Request<Body>>,
    {
        cluster: Arc<Cluster<S>>,
        affinity: Affinity,
        record: Arc<Record>,
        depth: u8,
        tried: Vec<Arc<Endpoint<S>>>,
        #[pin]
        state: DispatchState<S>,
    }
}

pin_project! {
    #[project = DispatchProj]
    enum DispatchState<S>
    where
        S: Service<Request<Body>>,
    {
        Wait { picked: WaitFuture<S> },
        Attempt {
            endpoint: Arc<Endpoint<S>>,
            in_flight: Option<InFlight>,
            #[pin]
            response: Oneshot<S, Request<Body>>,
        },
    }
}

/// Boxed, because few requests ever wait.
type WaitFuture<S> =
    Pin<Box<dyn Future<Output = Result<(Picked<S>, Request<Body>), Error>> + Send>>;

impl<S> ResponseFuture<S>
where
    S: Service<Request<Body>> + Clone + Send + Sync + 'static,
{
    pub(super) fn new(cluster: Arc<Cluster<S>>, mut request: Request<Body>) -> Self {
        let record = request.body_mut().record().clone();
        let depth = request.body().depth();
        let affinity = cluster.affinity(&request);
        let state = match cluster.pick(&[], affinity) {
            Some(picked) => DispatchState::attempt(picked, request, &record, depth),
            None => {
                let cluster = cluster.clone();
                let wait = async move { Ok((cluster.wait(affinity).await?, request)) };
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
    /// Sends a request to the endpoint that was picked for it.
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
                    // Taken once: the state is replaced below, or the future is done.
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
                    this.tried.push(endpoint.clone());
                    let next = match this.tried.len() < MAX_ATTEMPTS {
                        true => this.cluster.pick(this.tried, *this.affinity),
                        false => None,
                    };
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

/// The response, with the request in flight until its body ends.
fn answered<B: http_body::Body>(
    mut response: Response<B>,
    mut in_flight: InFlight,
    record: &Arc<Record>,
) -> Response<ResponseBody<B>> {
    let verdict =
        grpc_verdict(response.headers()).unwrap_or_else(|| status_verdict(response.status()));
    in_flight.answered(verdict, retry_after(&response));
    inform(response.extensions_mut(), record);
    let hold = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    response.map(|body| ResponseBody::new(body, in_flight, hold))
}

/// Makes the record public, unless an inner cluster has done so: a second insertion would allocate.
fn inform(extensions: &mut Extensions, record: &Arc<Record>) {
    if extensions.get::<Info>().is_none() {
        extensions.insert(Info::new(record.clone()));
    }
}

/// The error that ended an attempt, and the request, if nothing of it was sent.
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
