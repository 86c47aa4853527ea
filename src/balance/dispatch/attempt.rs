//! [`AttemptFuture`]: the sending of a request to one endpoint, up to its response head.

use std::{
    any::TypeId,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Extensions, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower::Service;

use super::{call::Call, per_try::PerTryTimer};
use crate::{
    balance::{body::ResponseBody, policy::Picked},
    body::Body,
    endpoint::{Endpoint, InFlight, retry_after},
    error::{BoxError, Error, ErrorKind},
    record::{AttemptGuard, Info, Outcome, Record, class_of_head},
    telemetry::MethodLabel,
    telemetry::open_attempt,
    upstream::{Client, SendError},
};

pin_project! {
    /// Sends a request to one endpoint, and completes with the response head or with the reason why there is none.
    ///
    /// In either case, the attempt is reported to the load of its endpoint by then, as far as it has come.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels the attempt, and the request no longer counts at the endpoint. That is a failure of the
    /// endpoint only if a deadline of the proxy in front has passed; otherwise the client is taken to have gone.
    pub(super) struct AttemptFuture<S>
    where
        S: Service<Request<Body>>,
    {
        endpoint: Arc<Endpoint<S>>,
        // Counts the request at the endpoint. Taken when the attempt ends.
        in_flight: Option<InFlight>,
        timer: PerTryTimer,
        #[pin]
        response: Call<S>,
    }
}

/// How an attempt ended, as far as the loop over attempts is concerned.
pub(super) enum Attempted<S, B> {
    /// A response head has arrived, be it that of a failure.
    Answered {
        response: Response<B>,
        endpoint: Arc<Endpoint<S>>,
        in_flight: InFlight,
    },
    /// There is no response. The request no longer counts at the endpoint.
    Failed {
        /// With the name of the endpoint.
        error: Error,
        endpoint: Arc<Endpoint<S>>,
        outcome: Option<Outcome>,
        /// The request, if nothing of it was sent.
        unsent: Option<Request<Body>>,
    },
}

impl<S> AttemptFuture<S>
where
    S: Service<Request<Body>> + Clone,
{
    /// Begins an attempt at the endpoint that was picked, and adds it to the record.
    ///
    /// The service is called on a clone of its own: at once if it is ready, or once it is. A service that stays pending
    /// keeps the request; what bounds that wait is the per-try timeout, or a timeout of the service or of the proxy in
    /// front.
    ///
    /// `depth` is the number of clusters around this one, and `parent` the attempt there that this is a part of.
    pub(super) fn begin(
        picked: Picked<S>,
        mut request: Request<Body>,
        record: &Arc<Record>,
        (depth, parent): (u8, Option<usize>),
        per_try: Option<Duration>,
    ) -> Self {
        let Picked {
            endpoint,
            mut in_flight,
        } = picked;
        let attempt = AttemptGuard::begin(
            record,
            endpoint.id(),
            (depth, parent),
            in_flight.beginning(),
        );
        let method = MethodLabel::of(request.method());
        let has_changed = open_attempt(&attempt, &mut request);
        let body = request.body_mut();
        if has_changed {
            body.keep_head();
        }
        body.set_attempt(attempt.nth(), depth.saturating_add(1));
        in_flight.begin(attempt, method, body);
        let timer = PerTryTimer::new(per_try, record);
        let _entered = in_flight.enter();
        Self {
            timer,
            response: Call::new(endpoint.service(), request),
            endpoint,
            in_flight: Some(in_flight),
        }
    }

    /// Returns the endpoint.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint<S>> {
        &self.endpoint
    }

    /// Returns how long the attempt waits before another endpoint is asked as well, because this one does not answer at
    /// all. `None` if it does answer.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.in_flight.as_ref().and_then(InFlight::patience)
    }

    /// Records that another attempt was answered first. The drop that follows then knows why.
    pub(super) fn supersede(self: Pin<&mut Self>) {
        if let Some(mut in_flight) = self.project().in_flight.take() {
            in_flight.superseded();
        }
    }
}

impl<S, B> Future for AttemptFuture<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    type Output = Attempted<S, B>;

    /// A future that is polled after its completion stays pending.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.in_flight.as_ref().and_then(InFlight::enter);
        let polled = this.response.poll(cx);
        let Some(in_flight) = this.in_flight.as_mut() else {
            return Poll::Pending;
        };
        let (error, unsent) = match polled {
            Poll::Ready(Ok(response)) => {
                // gRPC reports failures with a 200: in a response without a message, `grpc-status` is in the header
                // section.
                let class = class_of_head(&response);
                in_flight.answered(response.status(), class, retry_after(&response));
                return match this.in_flight.take() {
                    Some(in_flight) => Poll::Ready(Attempted::Answered {
                        response,
                        endpoint: this.endpoint.clone(),
                        in_flight,
                    }),
                    None => Poll::Pending,
                };
            }
            Poll::Ready(Err(error)) => SendError::split(error.into()),
            Poll::Pending => {
                in_flight.watch(cx);
                let kind = match this.timer.poll_expired(cx) {
                    // Asked after the task is watched, or the end could fall in between.
                    Poll::Pending if !in_flight.is_cut_off() => return Poll::Pending,
                    Poll::Pending => ErrorKind::Drained,
                    Poll::Ready(()) => ErrorKind::PerTryTimeout,
                };
                (Error::new(kind), None)
            }
        };
        let error = error.at(this.endpoint.name());
        let outcome = in_flight.failed(&error);
        // The request leaves the count, so that the next pick sees the endpoint as it is now.
        *this.in_flight = None;
        Poll::Ready(Attempted::Failed {
            error,
            endpoint: this.endpoint.clone(),
            outcome,
            unsent,
        })
    }
}

/// Returns a response with a body that keeps the request in flight. `S` is the service that answered.
pub(super) fn answered<S: 'static, B: http_body::Body>(
    mut response: Response<B>,
    in_flight: InFlight,
    record: &Arc<Record>,
) -> Response<ResponseBody<B>> {
    if !is_client::<S>() {
        inform(response.extensions_mut(), record);
    }
    // The body of a 101 is empty and at its end. The tunnel takes it along, and ends the request with it.
    let hold = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    response.map(|body| ResponseBody::new(body, in_flight, hold))
}

/// Returns whether the endpoints' service is the crate's client itself: what is sent to it reaches it as it is, and
/// what it adds to a response is still there.
pub(super) fn is_client<S: 'static>() -> bool {
    TypeId::of::<S>() == TypeId::of::<Client>()
}

/// Adds the [`Info`] to the response's extensions, unless an inner cluster or client has done so.
///
/// That one shows the same record, so a second insertion would only allocate again.
fn inform(extensions: &mut Extensions, record: &Arc<Record>) {
    if extensions.get::<Info>().is_none() {
        extensions.insert(Info::new(record.clone()));
    }
}
