//! What a [`ReplaySource`](super::source) has behind its lock, and every change to it.
//!
//! Each change is a few instructions long, and runs no code of the user. What has to be dropped, notified or woken may
//! be such code: it is collected in [`Deferred`], and done after the lock is released.
//!
//! The client's body is in one of these states ([`OriginalBody`]):
//!
//! - *Here* ⇄ *lent*: taken out by a body that polls it. That body may be superseded meanwhile; it puts back what it
//!   has read, and the latest one waits for that.
//! - *Gone*, from lent: it yielded an error or panicked, and no other body follows the latest.
//! - *Gone*, from here: the latest body has been dropped, and no other can follow.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Poll, Waker},
};

use bytes::Bytes;
use http_body::Frame;

use crate::{
    body::{Body, KeptFrames},
    error::BoxError,
    record::OnSent,
};

/// The part of a source that is behind its lock.
pub(super) struct ReplaySlot {
    /// The generation of the body that was handed out last.
    pub(super) latest: u32,
    /// Whether that body has been dropped.
    dropped: bool,
    client: OriginalBody,
    /// Whether the client's body has yielded its last frame. It is not polled again.
    ended: bool,
    kept: KeptFrames,
    /// The task of the latest body while that is pending.
    pub(super) waiting: Option<Waker>,
    /// Those that waited for the body before it was wrapped: the attempts of the clusters around this one, to which all
    /// bodies of this one are the same upload. Notified when the latest body has been sent to its end, or has been
    /// dropped and no other can follow.
    on_sent: Vec<Arc<dyn OnSent>>,
}

/// Where the client's body is.
enum OriginalBody {
    /// Here, and not being polled.
    Here(Body),
    /// Taken out by a body that polls it.
    Lent,
    /// Dropped, because it has failed or because nothing will read it. Contains its error until the latest body has
    /// yielded that.
    Gone(Option<BoxError>),
}

/// What `poll_frame` returns.
pub(super) type PolledBody = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl ReplaySlot {
    /// Returns the slot of a body whose first `limit` bytes are kept. The latest body has generation 0.
    pub(super) fn new(client: Body, on_sent: Vec<Arc<dyn OnSent>>, limit: usize) -> Self {
        Self {
            latest: 0,
            dropped: false,
            client: OriginalBody::Here(client),
            ended: false,
            kept: KeptFrames::new(limit),
            waiting: None,
            on_sent,
        }
    }

    /// Returns whether another body can follow the latest.
    pub(super) fn is_replayable(&self) -> bool {
        self.kept.is_keeping()
    }

    /// Makes room for another body. Returns its generation, and the task that waits for the superseded one.
    pub(super) fn supersede(&mut self) -> Option<(u32, Option<Waker>)> {
        if !self.is_replayable() {
            return None;
        }
        self.latest = self.latest.wrapping_add(1);
        self.dropped = false;
        self.kept.rewind();
        Some((self.latest, self.waiting.take()))
    }

    /// Begins a poll: returns the client's body if that has to be polled, and otherwise what the poll returns.
    pub(super) fn begin_poll(
        &mut self,
        generation: u32,
        waker: &Waker,
    ) -> Result<Body, PolledBody> {
        if generation != self.latest {
            return Err(superseded());
        }
        if let Some(frame) = self.kept.next() {
            return Err(Poll::Ready(Some(Ok(frame))));
        }
        if self.ended {
            return Err(Poll::Ready(None));
        }
        match mem::replace(&mut self.client, OriginalBody::Lent) {
            OriginalBody::Here(body) => Ok(body),
            OriginalBody::Lent => {
                self.waiting = Some(waker.clone());
                Err(Poll::Pending)
            }
            OriginalBody::Gone(error) => {
                self.client = OriginalBody::Gone(None);
                let error = error.unwrap_or_else(|| "the request body has failed".into());
                Err(Poll::Ready(Some(Err(error))))
            }
        }
    }

    /// Ends a poll of the client's body by the body of a generation, which may have been superseded meanwhile. `ended`
    /// says that the client's body has no more frames. Returns what the poll returns.
    pub(super) fn end_poll(
        &mut self,
        generation: u32,
        client: Body,
        polled: PolledBody,
        ended: bool,
        waker: &Waker,
        deferred: &mut Deferred,
    ) -> PolledBody {
        let is_latest = generation == self.latest;
        self.client = OriginalBody::Here(client);
        self.ended |= ended;
        if !is_latest {
            deferred.woken = self.waiting.take();
        }
        let polled = match polled {
            Poll::Ready(Some(Ok(frame))) if is_latest => {
                deferred.freed = self.kept.keep(&frame, ended);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                deferred.freed = self.kept.add(frame);
                superseded()
            }
            Poll::Ready(Some(Err(error))) => {
                let (error, own) = match is_latest {
                    true => (None, Poll::Ready(Some(Err(error)))),
                    false => (Some(error), superseded()),
                };
                self.fail(error, deferred);
                own
            }
            _ if !is_latest => superseded(),
            // Only a body that may be superseded has to be woken for it.
            Poll::Pending if self.is_replayable() => {
                self.waiting = Some(waker.clone());
                Poll::Pending
            }
            other => other,
        };
        self.release(deferred);
        polled
    }

    /// Records that the client's body has failed, so that it is never sent again. `error` is for the latest body.
    pub(super) fn fail(&mut self, error: Option<BoxError>, deferred: &mut Deferred) {
        self.let_go(OriginalBody::Gone(error), deferred);
        deferred.freed = self.kept.stop();
    }

    /// Records that the body of a generation has been dropped.
    pub(super) fn dropped(&mut self, generation: u32) -> Deferred {
        let mut deferred = Deferred::default();
        if generation == self.latest {
            self.dropped = true;
            self.release(&mut deferred);
        }
        deferred
    }

    /// Keeps nothing from now on.
    pub(super) fn stop(&mut self) -> Deferred {
        let mut deferred = Deferred {
            freed: self.kept.stop(),
            ..Deferred::default()
        };
        self.release(&mut deferred);
        deferred
    }

    /// Returns whether the latest body has yielded all that there is.
    pub(super) fn is_read(&self) -> bool {
        self.ended && self.kept.is_drained()
    }

    /// Takes out what nothing needs any more: everything, if the latest body has been dropped and none can follow; and
    /// those that wait for the end, if it has been reached.
    pub(super) fn release(&mut self, deferred: &mut Deferred) {
        let is_over = self.dropped && !self.is_replayable();
        if is_over || self.is_read() {
            deferred.notified.append(&mut self.on_sent);
        }
        // A body that is lent goes when it is put back.
        if is_over && !matches!(self.client, OriginalBody::Lent) {
            self.let_go(OriginalBody::Gone(None), deferred);
            deferred
                .freed
                .extend(std::iter::from_fn(|| self.kept.next()));
        }
    }

    /// Puts `next` in the place of the client's body, which is to be dropped.
    fn let_go(&mut self, next: OriginalBody, deferred: &mut Deferred) {
        match mem::replace(&mut self.client, next) {
            OriginalBody::Here(client) => deferred.client = Some(client),
            OriginalBody::Gone(error) => deferred.error = error,
            OriginalBody::Lent => {}
        }
    }
}

/// Returns what a body yields that another one has followed. Only the connection of an attempt that has ended sees it.
fn superseded() -> PolledBody {
    let error = "the request is being sent in another attempt";
    Poll::Ready(Some(Err(error.into())))
}

/// What is left to do once the lock is released: all of it may run code of the user.
#[derive(Default)]
pub(super) struct Deferred {
    /// The client's body, to be dropped.
    client: Option<Body>,
    /// Its error, which nothing will yield, to be dropped.
    error: Option<BoxError>,
    /// What is kept no longer, to be dropped.
    freed: VecDeque<Frame<Bytes>>,
    /// To be notified that the body has been sent.
    notified: Vec<Arc<dyn OnSent>>,
    /// To be woken: it waits for what a superseded body has put back.
    pub(super) woken: Option<Waker>,
}

impl Deferred {
    /// Does it. What is only to be dropped comes last.
    pub(super) fn run(self) {
        self.woken.into_iter().for_each(Waker::wake);
        self.notified.iter().for_each(|on_sent| on_sent.sent());
    }
}
