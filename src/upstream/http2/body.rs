//! The body of a response over HTTP/2.

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

/// A response body that holds its exchange's place until it has ended. Dropped early it resets the stream.
pub(in crate::upstream) struct Http2Body {
    incoming: Incoming,
    held: Option<Held>,
    bounds: MessageBounds,
}

/// What an exchange has of its connection.
pub(super) struct Held {
    /// Keeps the connection.
    _sender: SendRequest<Body>,
    place: Place,
    upload: Option<Arc<Pipe>>,
    /// There is no stream to reset.
    complete: bool,
}

impl Held {
    pub(super) fn new(sender: SendRequest<Body>, place: Place, upload: Option<Arc<Pipe>>) -> Self {
        Self {
            _sender: sender,
            place,
            upload,
            complete: false,
        }
    }

    pub(super) fn runtime(&self) -> Handle {
        self.place.shared.runtime.clone()
    }

    pub(super) fn started(&self) -> Instant {
        self.place.started()
    }

    /// The server has answered.
    pub(super) fn answered(&mut self) {
        self.place.answered();
    }

    /// The stream has ended, or was never opened.
    fn complete(&mut self) {
        self.complete = true;
    }

    /// The exchange has failed: by a reset from here, if it was the upload that broke.
    pub(super) fn fail(mut self, error: &hyper::Error) {
        if !is_reset_here(error) {
            self.complete();
        }
    }

    /// The response is complete. RFC 9113 8.1: a server may send all of it "prior to the client sending an entire
    /// request"; then it may be reading still, or have no more to do with what comes.
    fn finish(mut self) {
        match self.upload.take().filter(|upload| !upload.has_ended()) {
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
        // Nobody waits for the response any more; hyper's task would go on with the request.
        if let Some(upload) = &self.upload {
            upload.abort();
        }
        if !self.complete {
            self.place.shared.count_reset();
        }
    }
}

impl Http2Body {
    pub(super) fn new(incoming: Incoming, held: Held) -> Self {
        let mut body = Self {
            incoming,
            bounds: held.place.shared.bounds,
            held: Some(held),
        };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

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
        // Before the exchange is finished: dropped with this error, the body resets its stream.
        if let Some(trailers) = frame.trailers_ref() {
            check(trailers, self.bounds)?;
        }
        // Nothing comes after trailers, and hyper's server does not ask.
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
        // All of an announced length has come, and its reader does not wait for the frame that only says so.
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
