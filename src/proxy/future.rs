//! The end of the way: a response, whatever happened.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
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
    error::{BoxError, Error},
    forward::ForwardFuture,
    record::Info,
};

pin_project! {
    /// The response future of [`ReverseProxy`](super::ReverseProxy). It never fails.
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
        fn drop(this: Pin<&mut Self>) {
            // nginx's name for it: nobody is left to see the status.
            if matches!(this.state, ProxyState::Sent { .. }) {
                tracing::debug!(status = 499, "the client went away");
            }
        }
    }
}

pin_project! {
    #[project = ProxyProj]
    enum ProxyState<S>
    where
        S: Service<Request<Body>>,
    {
        Sent { #[pin] future: ForwardFuture<S>, responder: ErrorResponder, client: Http10 },
        Done { response: Option<Response<AxumBody>> },
    }
}

impl<S: Service<Request<Body>>> ProxyFuture<S> {
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
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
                        responder.respond(error, Some(Info::new(record.clone())))
                    }
                };
                client.settle(&mut response);
                // The exchange is over, so a drop from here on is no client that left.
                this.state.set(ProxyState::Done { response: None });
                response
            }
            ProxyProj::Done { response } => match response.take() {
                Some(response) => response,
                // Polled after its end, which no future owes an answer; none is the least surprising.
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
