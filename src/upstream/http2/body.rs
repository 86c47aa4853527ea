//! The response body of an HTTP/2 exchange, and what the exchange holds until it ends.
//!
//! hyper's body receives from h2 by itself, so unlike `http1/body.rs` nothing is driven here. What this file adds is
//! the end: which exchanges reset their stream, and what happens to an upload that outlives its response. [`Held`]
//! decides it, exactly once:
//!
//! | end | stream | upload |
//! |---|---|---|
//! | last frame, request sent | closed by both sides | none |
//! | last frame, request not sent | open in one direction | continues for 30 s, then the stream is reset |
//! | last frame, CONNECT refused | open in one direction: reset, counted | none |
//! | error received | closed by the endpoint | aborted |
//! | error from here: a broken upload | reset, counted | aborted |
//! | dropped, or trailers too large | reset, counted | aborted |
//!
//! "Counted" means toward the limit of resets on a connection (`shared.rs`).

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use tokio::{runtime::Handle, time::Instant};

use super::{error::is_reset_here, shared::Place, size::check, upload::Pipe};
use crate::{body::Body, error::BoxError, upstream::bounds::MessageBounds};

/// A response body that holds its exchange's place on the connection until it has ended.
///
/// # Cancel safety
///
/// Dropped early it resets the stream, and aborts the upload.
pub(in crate::upstream) struct Http2Body {
    /// hyper's body, which receives the frames.
    incoming: Incoming,
    /// What the exchange holds; `None` once it has ended.
    held: Option<Held>,
    /// The limits that trailers are checked against.
    bounds: MessageBounds,
}

/// What an exchange holds of its connection: its place, its upload, and a sender that keeps the connection open.
///
/// Dropped without [`finish`](Self::finish) or [`fail`](Self::fail), it counts a reset: the exchange was cancelled.
pub(super) struct Held {
    /// Keeps the connection: hyper closes it with the last sender.
    _sender: SendRequest<Body>,
    /// The place on the connection.
    place: Place,
    /// The sending of the request body; `None` if there was no body.
    upload: Option<Arc<Pipe>>,
    /// Whether the request is a CONNECT, whose side of the stream has no end while there is no tunnel.
    connect: bool,
    /// Whether there is no stream to reset.
    complete: bool,
}

impl Held {
    /// Holds the place of a request that is about to be sent.
    pub(super) fn new(sender: SendRequest<Body>, place: Place, upload: Option<Arc<Pipe>>) -> Self {
        Self {
            _sender: sender,
            place,
            upload,
            connect: false,
            complete: false,
        }
    }

    /// Records that the request is a CONNECT.
    pub(super) fn for_connect(mut self, connect: bool) -> Self {
        self.connect = connect;
        self
    }

    /// Returns the connection's runtime, for what outlives the exchange.
    pub(super) fn runtime(&self) -> Handle {
        self.place.shared.runtime.clone()
    }

    /// Returns when the place was taken.
    pub(super) fn started(&self) -> Instant {
        self.place.started()
    }

    /// Records that the server has answered.
    pub(super) fn answered(&mut self) {
        self.place.answered();
    }

    /// Records that the stream has ended, or was never opened, so that no reset is counted.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// Ends an exchange that has failed. The failure is a reset from here if it was the upload that broke.
    pub(super) fn fail(mut self, error: &hyper::Error) {
        if !is_reset_here(error) {
            self.complete();
        }
    }

    /// Ends an exchange whose response is complete.
    ///
    /// RFC 9113 8.1: a server may send all of it "prior to the client sending an entire request". It may then still be
    /// reading the request, or have no more use for it; so the upload continues for a while, in a task that holds the
    /// place.
    fn finish(mut self) {
        match self.upload.take().filter(|upload| !upload.has_ended()) {
            // A tunnel that was refused: the stream is reset, as it is still open in one direction.
            None if self.connect => {}
            None => self.complete(),
            Some(upload) => drop(self.runtime().spawn(async move {
                upload.linger().await;
                if upload.has_ended() {
                    self.complete();
                }
            })),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Nothing waits for the response any more, and hyper's task would continue with the request by itself.
        if let Some(upload) = &self.upload {
            upload.abort();
        }
        if !self.complete {
            self.place.shared.count_reset();
        }
    }
}

impl Http2Body {
    /// Wraps the body of a response that has just arrived. A body that is at its end already finishes its exchange at
    /// once, because nothing will poll it. `held` is `None` if the exchange is that of a tunnel.
    pub(super) fn new(incoming: Incoming, bounds: MessageBounds, held: Option<Held>) -> Self {
        let mut body = Self {
            incoming,
            bounds,
            held,
        };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// Ends the exchange, unless it has ended already.
    fn finish(&mut self) {
        if let Some(held) = self.held.take() {
            held.finish();
        }
    }
}

impl http_body::Body for Http2Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                if let Some(held) = self.held.take() {
                    held.fail(&error);
                }
                return Poll::Ready(Some(Err(error.into())));
            }
            None => {
                self.finish();
                return Poll::Ready(None);
            }
        };
        // Before the exchange is finished: the body is dropped with this error, and so resets its stream.
        if let Some(trailers) = frame.trailers_ref() {
            check(trailers, self.bounds)?;
        }
        // Nothing comes after trailers, and hyper's server does not ask for more.
        if frame.is_trailers() || self.incoming.is_end_stream() {
            self.finish();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        // All of an announced length has arrived, and its reader does not wait for the frame that only ends the stream.
        if self.size_hint().exact() == Some(0) {
            self.finish();
        }
    }
}

impl fmt::Debug for Http2Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Body")
            .field("incoming", &self.incoming)
            .finish_non_exhaustive()
    }
}
