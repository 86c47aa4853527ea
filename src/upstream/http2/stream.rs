//! One exchange over HTTP/2.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2::SendRequest},
};
use tokio::time::timeout_at;

use super::{
    body::{Held, Http2Body},
    settings::settles,
    shared::Place,
    size::{TooLarge, check},
};
use crate::body::Body;

/// A place on a connection, for one request.
#[derive(Debug)]
pub(in crate::upstream) struct Stream {
    sender: SendRequest<Body>,
    place: Place,
}

impl Stream {
    pub(super) fn new(sender: SendRequest<Body>, place: Place) -> Self {
        Self { sender, place }
    }

    /// Sends a request in absolute form and waits for the response head; the place goes with the response.
    ///
    /// Dropping the future resets the stream, after a moment if it has just been opened. An error that still has the
    /// request in it was not sent.
    pub(in crate::upstream) async fn send(
        self,
        request: Request<Body>,
    ) -> Result<Result<Response<Http2Body>, TooLarge>, TrySendError<Request<Body>>> {
        let Self { mut sender, place } = self;
        let (request, upload) = place.shared.uploads.watch(request, place.started());
        // Boxed, so that it can outlive the wait for it.
        let answer: Answer = Box::pin(sender.try_send_request(request));
        let wait = Wait(Some((answer, Held::new(sender, place, upload))));
        let (response, held) = wait.await?;
        if let Err(too_large) = check(response.headers(), held.bounds()) {
            // Dropped, the response resets its stream, and that alone.
            return Ok(Err(too_large));
        }
        Ok(Ok(response.map(|incoming| Http2Body::new(incoming, held))))
    }
}

type Answer =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>> + Send>>;

/// A wait for the response head.
struct Wait(Option<(Answer, Held)>);

impl Future for Wait {
    type Output = Result<(Response<Incoming>, Held), TrySendError<Request<Body>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((mut answer, mut held)) = self.0.take() else {
            // It has ended.
            return Poll::Pending;
        };
        match answer.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => {
                held.answered();
                Poll::Ready(Ok((response, held)))
            }
            Poll::Ready(Err(failed)) => {
                held.answered();
                held.complete();
                Poll::Ready(Err(failed))
            }
            Poll::Pending => {
                self.0 = Some((answer, held));
                Poll::Pending
            }
        }
    }
}

impl Drop for Wait {
    /// Resets the stream, but not in the moment in which it was opened.
    fn drop(&mut self) {
        if let Some((answer, held)) = self.0.take() {
            if let Some(settled) = settles(held.started()) {
                held.runtime().spawn(async move {
                    drop(timeout_at(settled, answer).await);
                    drop(held);
                });
            }
        }
    }
}
