//! One request on its way: wait for an endpoint, send, and on to the next if it could not connect.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use pin_project_lite::pin_project;
use tower::{Service, util::Oneshot};

use super::{
    cluster::Cluster,
    policy::{Affinity, Picked},
};
use crate::{
    body::{Body, Guarded},
    endpoint::{Endpoint, InFlight, Outcome},
    error::{BoxError, Error},
    info::Info,
    upstream::SendError,
};

/// The response body of a [`LoadBalance`](super::LoadBalance): its endpoint's own, counted as in flight until it ends.
pub type ResponseBody<B> = Guarded<B, InFlight>;

/// No request tries more endpoints than this to find one it can connect to: when so many are gone, more attempts would
/// be a load of their own.
const MAX_ATTEMPTS: usize = 10;

pin_project! {
    /// The response future of a [`LoadBalance`](super::LoadBalance).
    pub struct ResponseFuture<S>
    where
        S: Service<Request<Body>>,
    {
        cluster: Arc<Cluster<S>>,
        affinity: Affinity,
        tried: Vec<Arc<Endpoint<S>>>,
        #[pin]
        state: State<S>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S>
    where
        S: Service<Request<Body>>,
    {
        Wait { picked: Waiting<S> },
        Send {
            endpoint: Arc<Endpoint<S>>,
            in_flight: Option<InFlight>,
            // The `Host` is this endpoint's, and must not go to another.
            host_set: bool,
            #[pin]
            response: Oneshot<S, Request<Body>>,
        },
    }
}

/// Boxed, because few requests ever wait.
type Waiting<S> = Pin<Box<dyn Future<Output = Result<(Picked<S>, Request<Body>), Error>> + Send>>;

impl<S> ResponseFuture<S>
where
    S: Service<Request<Body>> + Clone + Send + Sync + 'static,
{
    pub(super) fn new(cluster: Arc<Cluster<S>>, request: Request<Body>) -> Self {
        let affinity = cluster.affinity(&request);
        let state = match cluster.pick(&[], affinity) {
            Some(picked) => State::send(picked, request),
            None => {
                let cluster = cluster.clone();
                State::Wait {
                    picked: Box::pin(async move { Ok((cluster.wait(affinity).await?, request)) }),
                }
            }
        };
        Self {
            cluster,
            affinity,
            tried: Vec::new(),
            state,
        }
    }
}

impl<S> State<S>
where
    S: Service<Request<Body>> + Clone,
{
    fn send(picked: Picked<S>, request: Request<Body>) -> Self {
        let Picked {
            endpoint,
            in_flight,
        } = picked;
        let (service, request, host_set) = endpoint.prepare(request);
        Self::Send {
            endpoint,
            in_flight: Some(in_flight),
            host_set,
            response: Oneshot::new(service, request),
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
            let next = match this.state.as_mut().project() {
                StateProj::Wait { picked } => {
                    let (picked, request) = ready!(picked.as_mut().poll(cx))?;
                    State::send(picked, request)
                }
                StateProj::Send {
                    endpoint,
                    in_flight,
                    host_set,
                    response,
                } => {
                    let error = match ready!(response.poll(cx)) {
                        Ok(mut response) => {
                            if let Some(in_flight) = in_flight {
                                in_flight.answered(Outcome::of_response(&response));
                            }
                            this.cluster
                                .mark(&mut response, *this.affinity, endpoint.name());
                            let attempts = this.tried.len() + 1;
                            return Poll::Ready(Ok(finish(
                                response,
                                endpoint,
                                in_flight.take(),
                                attempts,
                            )));
                        }
                        Err(error) => error.into(),
                    };
                    let (error, unsent) = SendError::split(error);
                    let error = error.at(endpoint.name());
                    if let Some(mut in_flight) = in_flight.take() {
                        in_flight.answered(Outcome::of_error(&error));
                    }
                    let Some(mut request) = unsent.filter(|_| this.tried.len() + 1 < MAX_ATTEMPTS)
                    else {
                        return Poll::Ready(Err(error));
                    };
                    if *host_set {
                        request.headers_mut().remove(header::HOST);
                    }
                    this.tried.push(endpoint.clone());
                    let Some(picked) = this.cluster.pick(this.tried, *this.affinity) else {
                        return Poll::Ready(Err(error));
                    };
                    tracing::debug!(%error, next = %picked.endpoint.name(), "trying another endpoint");
                    State::send(picked, request)
                }
            };
            this.state.set(next);
        }
    }
}

fn finish<S, B: http_body::Body>(
    mut response: Response<B>,
    endpoint: &Endpoint<S>,
    in_flight: Option<InFlight>,
    attempts: usize,
) -> Response<ResponseBody<B>> {
    let info = Info::new(
        endpoint.name().clone(),
        u32::try_from(attempts).unwrap_or(u32::MAX),
    );
    let extensions = response.extensions_mut();
    // A client has put one there already; a second insertion would allocate again.
    match extensions.get_mut() {
        Some(clients) => *clients = info,
        None => drop(extensions.insert(info)),
    }
    let hold = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    response.map(|body| Guarded::new(body, in_flight, hold))
}

impl<S: Service<Request<Body>>> fmt::Debug for ResponseFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("tried", &self.tried)
            .finish_non_exhaustive()
    }
}
