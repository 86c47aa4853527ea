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
    size::check,
};
use crate::{body::Body, upstream::error::Failure};

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
    /// Dropping the future resets the stream, a moment later if it has just been opened.
    pub(in crate::upstream) async fn send(
        self,
        request: Request<Body>,
    ) -> Result<Response<Http2Body>, Failure> {
        let Self { mut sender, place } = self;
        let bounds = place.shared.bounds;
        let (request, upload) = place.shared.uploads.watch(request, place.started());
        // Boxed, so that it can outlive the wait for it.
        let head: SendFuture = Box::pin(sender.try_send_request(request));
        let wait = HeadFuture(Some((head, Held::new(sender, place, upload))));
        let (response, held) = wait.await?;
        // Dropped, the response resets its stream, and that alone.
        let checked = check(response.headers(), bounds);
        checked.map_err(|error| Failure::Response(error.into()))?;
        Ok(response.map(|incoming| Http2Body::new(incoming, held)))
    }
}

type SendFailure = TrySendError<Request<Body>>;

type SendFuture = Pin<Box<dyn Future<Output = Result<Response<Incoming>, SendFailure>> + Send>>;

/// The wait for a response head; empty once it is over.
struct HeadFuture(Option<(SendFuture, Held)>);

impl Future for HeadFuture {
    type Output = Result<(Response<Incoming>, Held), SendFailure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((mut head, mut held)) = self.0.take() else {
            return Poll::Pending;
        };
        let Poll::Ready(answer) = head.as_mut().poll(cx) else {
            self.0 = Some((head, held));
            return Poll::Pending;
        };
        held.answered();
        Poll::Ready(match answer {
            Ok(response) => Ok((response, held)),
            Err(failed) => {
                held.fail(failed.error());
                Err(failed)
            }
        })
    }
}

impl Drop for HeadFuture {
    /// Resets the stream, but not in the moment in which it was opened.
    fn drop(&mut self) {
        let Some((head, held)) = self.0.take() else {
            return;
        };
        if let Some(settled) = settles(held.started()) {
            held.runtime().spawn(async move {
                drop(timeout_at(settled, head).await);
                drop(held);
            });
        }
    }
}
