//! Sends one request over an HTTP/2 connection.
//!
//! Stages of an exchange, and what a drop does in each:
//!
//! - *Placed*: a [`Stream`] exists, nothing has been sent. A drop gives the place up.
//! - *Waiting for the head*: [`HeadFuture`]. A drop resets the stream, 50 ms after it was opened at the earliest.
//! - *Receiving the body*: [`Http2Body`]. A drop resets the stream, unless all of an announced length has arrived.
//! - *Over*: the place is given up. An upload that is still in progress continues for 30 s at most.
//!
//! Other streams of the connection are affected by none of these, but for the count of resets. Retries and deadlines
//! are the callers' concern.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2::SendRequest},
};
use tokio::time::timeout_at;

use super::{
    body::{Held, Http2Body},
    error::send_failure,
    settings::settles,
    shared::Place,
    size::check,
    websocket::hand_over,
};
use crate::{body::Body, upstream::error::Failure};

/// A place on a connection, for one request that is yet to be sent.
#[derive(Debug)]
pub(in crate::upstream) struct Stream {
    /// Takes the request.
    sender: SendRequest<Body>,
    /// The place, which goes on into the response.
    place: Place,
}

impl Stream {
    /// Joins a sender with a place on its connection.
    pub(super) fn new(sender: SendRequest<Body>, place: Place) -> Self {
        Self { sender, place }
    }

    /// Returns whether the server takes a WebSocket by extended CONNECT.
    pub(in crate::upstream) fn takes_websockets(&self) -> bool {
        self.place.shared.extended_connect
    }

    /// Sends a request in absolute form and waits for the response head. The place goes on into the response body,
    /// or into the tunnel that a response to CONNECT opens.
    ///
    /// # Errors
    ///
    /// `Failure::Send` if the request could not be sent, or no response arrived; `Failure::Response` if the response
    /// head is too large.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future resets the stream, up to 50 ms later if it has just been opened.
    pub(in crate::upstream) async fn send(
        self,
        request: Request<Body>,
    ) -> Result<Response<Http2Body>, Failure> {
        let Self { mut sender, place } = self;
        let bounds = place.shared.bounds;
        let connect = *request.method() == Method::CONNECT;
        let (request, upload) = place.shared.uploads.watch(request, place.started());
        // Boxed, so that it can move to a task that outlives this future.
        let head: SendFuture = Box::pin(sender.try_send_request(request));
        let held = Held::new(sender, place, upload).for_connect(connect);
        let wait = HeadFuture(Some((head, held)));
        let (mut response, held) = wait.await.map_err(send_failure)?;
        // Dropped here, a response that is too large resets its own stream and nothing else.
        let checked = check(response.headers(), bounds);
        checked.map_err(|error| Failure::Response(error.into()))?;
        let held = hand_over(&mut response, held).await;
        let held = held.map_err(Failure::Response)?;
        Ok(response.map(|incoming| Http2Body::new(incoming, bounds, held)))
    }
}

/// hyper's error; it contains the request if the connection did not take it.
type HyperFailure = TrySendError<Request<Body>>;

/// hyper's wait for a response head, which has no name of its own.
type SendFuture = Pin<Box<dyn Future<Output = Result<Response<Incoming>, HyperFailure>> + Send>>;

/// The wait for a response head, together with what the exchange holds. `None` once it is over.
struct HeadFuture(Option<(SendFuture, Held)>);

impl Future for HeadFuture {
    type Output = Result<(Response<Incoming>, Held), HyperFailure>;

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
    /// Resets the stream, but not before it has been open for 50 ms.
    ///
    /// Until then a task holds the future: an answer that arrives in the meantime is dropped, and the reset follows at
    /// once.
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
