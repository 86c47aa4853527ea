//! An exchange whose two bodies are in progress at once: its response began before the request had been sent.
//!
//! If the response body drove the connection, nothing would be sent while its reader pauses. An endpoint that waits for
//! the upload, and a reader that waits for the endpoint, would wait for one another. So a task drives it.
//!
//! The task ends when both bodies have ended, and returns the connection to the pool; when the connection fails; when
//! the response body is dropped; or [`LINGER`] after the end of the response, if the request still goes on.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::{sync::mpsc, time::timeout};

use super::{connection::Http1, error::Http1Error};
use crate::body::Body;

/// How long an upload may continue after its response has ended. nginx's `lingering_time` has the same default.
///
/// An endpoint that answers early may still be reading what is on its way, so closing at once could lose its response:
/// a close with unread bytes resets the connection.
const LINGER: Duration = Duration::from_secs(30);

/// The frames of a response, as the task receives them.
pub(super) struct Frames {
    receiver: mpsc::Receiver<Result<Frame<Bytes>, Http1Error>>,
    /// The length of what is left, if it is known.
    left: SizeHint,
}

impl Frames {
    /// Returns the next frame, or `None` after the last one.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        let frame = ready!(self.receiver.poll_recv(cx));
        match (&frame, self.left.exact()) {
            (Some(Ok(frame)), Some(left)) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                self.left = SizeHint::with_exact(left.saturating_sub(len as u64));
            }
            (None | Some(Err(_)), _) => self.left = SizeHint::with_exact(0),
            (Some(Ok(_)), None) => {}
        }
        Poll::Ready(frame)
    }

    /// Returns the length of what is left, if it is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.left
    }
}

/// Spawns a task that drives a connection whose response head has arrived, and sends the rest of `request`.
pub(super) fn spawn(http1: Http1, request: Body) -> Frames {
    let (sender, receiver) = mpsc::channel(1);
    let left = http1.wire().body().size_hint();
    let duplex = Duplex {
        http1,
        request,
        failed: None,
    };
    tokio::spawn(duplex.run(sender));
    Frames { receiver, left }
}

/// Spawns a task that writes what is left of a request whose response has ended, and then returns the connection to the
/// pool.
pub(super) fn send_rest(http1: Http1) {
    let duplex = Duplex {
        http1,
        request: Body::empty(),
        failed: None,
    };
    tokio::spawn(duplex.send_rest());
}

/// Both directions of an exchange.
struct Duplex {
    http1: Http1,
    /// What is left of the request body.
    request: Body,
    /// Why the request could not be sent to its end.
    failed: Option<Http1Error>,
}

impl Duplex {
    /// Sends and receives until both bodies have ended.
    async fn run(mut self, sender: mpsc::Sender<Result<Frame<Bytes>, Http1Error>>) {
        while !self.http1.wire().body().has_ended() {
            // Room comes first: a frame that has been received has to be passed on.
            let mut room = pin!(sender.reserve());
            let room = poll_fn(|cx| {
                self.send(cx);
                room.as_mut().poll(cx)
            });
            let Ok(room) = room.await else {
                return;
            };
            let mut unwanted = pin!(sender.closed());
            let frame = poll_fn(|cx| match unwanted.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => self.poll_frame(cx),
            });
            match frame.await {
                Some(Ok(frame)) => room.send(Ok(frame)),
                Some(Err(error)) => return room.send(Err(error)),
                None => break,
            }
        }
        let is_whole = self.http1.wire().body().has_ended();
        // The reader learns of the end now, and not when the request has ended.
        drop(sender);
        if is_whole {
            self.send_rest().await;
        }
    }

    /// Receives the next frame, and sends meanwhile.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        self.send(cx);
        match self.failed.take() {
            Some(error) => Poll::Ready(Some(Err(error))),
            None => self.http1.wire_mut().poll_frame(cx),
        }
    }

    /// Sends what the socket takes.
    fn send(&mut self, cx: &mut Context<'_>) {
        if self.failed.is_none() {
            if let Poll::Ready(Err(error)) =
                self.http1.wire_mut().poll_upload(&mut self.request, cx)
            {
                self.failed = Some(error);
            }
        }
    }

    /// Sends the rest of the request, and returns the connection to the pool.
    async fn send_rest(mut self) {
        let rest = poll_fn(|cx| self.http1.wire_mut().poll_upload(&mut self.request, cx));
        if self.failed.is_none() && matches!(timeout(LINGER, rest).await, Ok(Ok(()))) {
            self.http1.go_home();
        }
    }
}
