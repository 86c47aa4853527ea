//! An exchange whose two bodies are in progress at once: its response began before the request had been sent.
//!
//! If the response body drove the connection, nothing would be sent while its reader pauses. An endpoint that waits for
//! the upload, and a reader that waits for the endpoint, would wait for one another. So a task drives it.
//!
//! The task ends when both bodies have ended; when the connection fails; when the response body is dropped; or
//! [`LINGER`] after the end of the response, if the request still goes on.
//!
//! The connection is used again only if the request ended first. A server that answers a request early may not read the
//! rest of it, and take that for the next request: whose response would be another client's.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::{sync::mpsc, time::timeout};

use super::{
    connection::Http1,
    error::{Arrival, Http1Error},
    upload::LINGER,
};
use crate::body::Body;

/// What the task passes on.
type FrameResult = Result<Frame<Bytes>, Http1Error>;

/// The frames of a response, as the task receives them.
pub(super) struct Frames {
    receiver: mpsc::Receiver<FrameResult>,
    /// Whether the task has received all. Without it, the end of the channel is that of the task.
    is_whole: Arc<AtomicBool>,
    /// The length of what is left, if it is known.
    left: SizeHint,
}

impl Frames {
    /// Returns the next frame, or `None` after the last one.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        let frame = match ready!(self.receiver.poll_recv(cx)) {
            None if !self.is_whole.swap(true, Acquire) => {
                Some(Err(Http1Error::Closed(Arrival::Part)))
            }
            frame => frame,
        };
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
    let left = http1.wire().decoder().size_hint();
    let is_whole = Arc::<AtomicBool>::default();
    let duplex = Duplex {
        http1,
        request,
        failed: None,
        is_whole: is_whole.clone(),
    };
    tokio::spawn(duplex.run(sender));
    Frames {
        receiver,
        is_whole,
        left,
    }
}

/// Both directions of an exchange.
struct Duplex {
    http1: Http1,
    /// What is left of the request body.
    request: Body,
    /// Why the request could not be sent to its end.
    failed: Option<Http1Error>,
    /// Set when the response has ended.
    is_whole: Arc<AtomicBool>,
}

impl Duplex {
    /// Sends and receives until both bodies have ended.
    async fn run(mut self, sender: mpsc::Sender<FrameResult>) {
        while !self.http1.wire().decoder().has_ended() {
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
                // It has ended, or nothing reads it any more, so that there will be no room.
                None => {}
            }
        }
        self.is_whole.store(true, Release);
        // The reader learns of the end now, and not when the request has ended.
        drop(sender);
        if self.http1.wire().is_still_sending() {
            self.http1.spend();
            let rest = poll_fn(|cx| self.http1.wire_mut().poll_upload(&mut self.request, cx));
            // Whether it has been sent or not, the connection closes.
            let _ = timeout(LINGER, rest).await;
        }
        self.http1.go_home();
    }

    /// Receives the next frame, and sends meanwhile.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its task may have panicked in a body of the user's, or ended with its runtime.
    #[tokio::test]
    async fn a_response_whose_task_is_gone_is_not_whole() {
        let (sender, receiver) = mpsc::channel(1);
        let mut frames = Frames {
            receiver,
            is_whole: Arc::default(),
            left: SizeHint::new(),
        };
        sender.send(Ok(Frame::data("a".into()))).await.unwrap();
        drop(sender);
        assert!(poll_fn(|cx| frames.poll_frame(cx)).await.unwrap().is_ok());
        assert!(poll_fn(|cx| frames.poll_frame(cx)).await.unwrap().is_err());
        assert!(poll_fn(|cx| frames.poll_frame(cx)).await.is_none());
    }
}
