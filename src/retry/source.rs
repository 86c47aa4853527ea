//! What the bodies of all attempts share: the client's body, and what is kept of it.
//!
//! The client's body may be code of the user, and no such code runs under a lock. So it is taken out of the slot to be
//! polled, and put back after that ([`ReplaySource::poll`]). Nothing else guards it, and nothing has to: only the
//! latest body polls, and one that has been superseded finds that out before it would.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use http_body::{Body as _, SizeHint};

use super::slot::{Deferred, PolledBody, ReplaySlot};
use crate::{body::Body, record::OnSent};

/// The client's body with what is kept of it.
pub(super) struct ReplaySource {
    /// The length of the client's body before any of it was read.
    pub(super) whole: SizeHint,
    /// Locked for a few instructions at a time: no body is polled or dropped under the lock.
    slot: Mutex<ReplaySlot>,
}

impl ReplaySource {
    /// Returns the source of a body whose first `limit` bytes are kept. The latest body has generation 0.
    ///
    /// `client` has to be bare: its link belongs to the body that is handed out.
    pub(super) fn new(client: Body, on_sent: Vec<Arc<dyn OnSent>>, limit: usize) -> Self {
        let whole = client.size_hint();
        let slot = Mutex::new(ReplaySlot::new(client, on_sent, limit));
        Self { whole, slot }
    }

    /// Returns whether another body can follow the latest.
    pub(super) fn is_replayable(&self) -> bool {
        self.lock().is_replayable()
    }

    /// Returns whether all that there is has been yielded, and is kept.
    pub(super) fn is_whole(&self) -> bool {
        let slot = self.lock();
        slot.is_replayable() && slot.is_read()
    }

    /// Makes room for another body, and returns its generation; `None` if it cannot follow the latest.
    pub(super) fn supersede(&self) -> Option<u32> {
        let (generation, waiting) = self.lock().supersede()?;
        // It has nothing to wait for any more. Left asleep, its task would hold it for good.
        waiting.into_iter().for_each(Waker::wake);
        Some(generation)
    }

    /// Keeps nothing from now on: no other body follows the latest.
    pub(super) fn stop(&self) {
        let deferred = self.lock().stop();
        deferred.run();
    }

    /// Records that the body of a generation has been dropped.
    pub(super) fn dropped(&self, generation: u32) {
        let deferred = self.lock().dropped(generation);
        deferred.run();
    }

    /// Returns whether the body of a generation is the latest and has yielded all that there is.
    pub(super) fn is_read(&self, generation: u32) -> bool {
        let slot = self.lock();
        slot.latest == generation && slot.is_read()
    }

    /// Locks the slot. Nothing under the lock panics, and what panics outside is noticed by [`Loan`].
    fn lock(&self) -> MutexGuard<'_, ReplaySlot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls the body of a generation: what is kept, and then the client's body.
    pub(super) fn poll(&self, generation: u32, cx: &mut Context<'_>) -> PolledBody {
        let mut deferred = Deferred::default();
        let begun = {
            let mut slot = self.lock();
            let begun = slot.begin_poll(generation, cx.waker());
            if begun.is_err() && generation == slot.latest {
                slot.release(&mut deferred);
            }
            begun
        };
        let mut client = match begun {
            Ok(client) => client,
            Err(polled) => {
                deferred.run();
                return polled;
            }
        };
        let mut loan = Loan {
            source: self,
            is_returned: false,
        };
        let polled = Pin::new(&mut client).poll_frame(cx);
        let ended = match &polled {
            Poll::Pending | Poll::Ready(Some(Err(_))) => false,
            // Nothing comes after trailers.
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || client.is_end_stream(),
            Poll::Ready(None) => true,
        };
        let mut slot = self.lock();
        loan.is_returned = true;
        let polled = slot.end_poll(generation, client, polled, ended, cx.waker(), &mut deferred);
        drop(slot);
        deferred.run();
        polled
    }
}

/// The client's body while it is polled. If that panics, the body counts as failed, and the latest body hears of it.
struct Loan<'a> {
    source: &'a ReplaySource,
    is_returned: bool,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if !self.is_returned {
            let mut deferred = Deferred::default();
            let mut slot = self.source.lock();
            slot.fail(None, &mut deferred);
            slot.release(&mut deferred);
            deferred.woken = slot.waiting.take();
            drop(slot);
            deferred.run();
        }
    }
}
