//! The response future of a proxy, which yields a response whatever happens.
//!
//! States:
//!
//! - *Sent*: the request is on its way, and the response head is awaited. Dropped in this state, the client has
//!   disconnected, which is logged as a 499.
//! - *Done*: the response is ready to be taken, or has been. A refused request begins in this state, with its response.
//!
//! Errors become responses here and in [`ReverseProxy`](super::ReverseProxy) (which refuses some requests before
//! anything is sent), in either case by [`ErrorResponder`]. What happens to the body afterwards is not seen here.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use super::{http10::Http10, respond::ErrorResponder};
use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind},
    forward::ForwardFuture,
    record::{Info, Record},
};

pin_project! {
    /// The response future of [`ReverseProxy`](super::ReverseProxy). It never fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels the request upstream, as hyper does when the client disconnects. The log then has a `DEBUG`
    /// line with the status 499. It must not be polled after it is ready: it stays pending then, and wakes no task.
    pub struct ProxyFuture<S>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        state: ProxyState<S>,
    }

    impl<S> PinnedDrop for ProxyFuture<S>
    where
        S: Service<Request<Body>>,
    {
        // Logs a client that disconnected before it had a response head.
        fn drop(this: Pin<&mut Self>) {
            if let ProxyState::Sent { future, .. } = &this.state {
                client_went_away(future.record());
            }
        }
    }
}

/// Records and logs that the client of an exchange disconnected before it had a response head.
fn client_went_away(record: &Record) {
    record.fail(ErrorKind::ClientGone);
    let _entered = record.enter();
    // nginx's status for a request whose client has closed the connection. It is logged only.
    tracing::debug!(status = 499, "the client went away");
}

/// An exchange whose client has no response head yet. It takes its drop for a client that has disconnected.
pub(super) struct UnansweredExchange(Option<Arc<Record>>);

impl UnansweredExchange {
    pub(super) fn new(record: Arc<Record>) -> Self {
        Self(Some(record))
    }

    /// There is a response head.
    pub(super) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for UnansweredExchange {
    fn drop(&mut self) {
        if let Some(record) = &self.0 {
            client_went_away(record);
        }
    }
}

pin_project! {
    /// The states of a [`ProxyFuture`].
    #[project = ProxyProj]
    enum ProxyState<S>
    where
        S: Service<Request<Body>>,
    {
        // What turns an error into a response, and what an HTTP/1.0 client is told, was read from the request, which is
        // gone.
        Sent { #[pin] future: ForwardFuture<S>, responder: ErrorResponder, client: Http10 },
        // `None` once the response has been taken.
        Done { response: Option<Response<AxumBody>> },
    }
}

impl<S: Service<Request<Body>>> ProxyFuture<S> {
    /// Returns the future of a request that is forwarded.
    pub(super) fn sent(
        future: ForwardFuture<S>,
        responder: ErrorResponder,
        client: Http10,
    ) -> Self {
        Self {
            state: ProxyState::Sent {
                future,
                responder,
                client,
            },
        }
    }

    /// Returns a future that is ready with `response`: that of a request which was refused, or which the proxy answers
    /// itself.
    pub(super) fn done(mut response: Response<AxumBody>, client: Http10) -> Self {
        client.settle(&mut response);
        Self {
            state: ProxyState::Done {
                response: Some(response),
            },
        }
    }
}

impl<S, B> Future for ProxyFuture<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<AxumBody>, Infallible>;

    /// Never yields an error: what failed has become a response.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let _entered = match this.state.as_ref().get_ref() {
            ProxyState::Sent { future, .. } => future.record().enter(),
            ProxyState::Done { .. } => None,
        };
        let response = match this.state.as_mut().project() {
            ProxyProj::Sent {
                mut future,
                responder,
                client,
            } => {
                let result: Result<_, Error> = ready!(future.as_mut().poll(cx));
                let mut response = match result {
                    Ok(response) => response.map(AxumBody::new),
                    Err(error) => {
                        let record = future.as_ref().get_ref().record();
                        record.fail(error.kind());
                        let response = responder.respond(error, Some(Info::new(record.clone())));
                        record.set_status(response.status());
                        response
                    }
                };
                client.settle(&mut response);
                // The exchange is over, so a drop from here on is not a client that disconnected. The forwarding future
                // is dropped here.
                this.state.set(ProxyState::Done { response: None });
                response
            }
            ProxyProj::Done { response } => match response.take() {
                Some(response) => response,
                // A future that is polled after its end owes no answer, and pending is the least surprising one: a
                // panic would take the connection's task down.
                None => return Poll::Pending,
            },
        };
        Poll::Ready(Ok(response))
    }
}

impl<S: Service<Request<Body>>> fmt::Debug for ProxyFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyFuture").finish_non_exhaustive()
    }
}
