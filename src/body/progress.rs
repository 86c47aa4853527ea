//! How far a request body has come, seen from the response's side of the exchange.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// Whose turn it is to move the request body, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Upload {
    /// The endpoint has not asked for more.
    Held = 0,
    /// The endpoint wants more and the client has not sent it.
    Wanted = 1,
    Done = 2,
    TooLarge = 3,
    Broken = 4,
}

/// Shared between the request body and whoever waits for the response. One word each and no ordering between them:
/// the timers that read it look again later.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    /// Milliseconds from `start` to the last movement.
    moved: AtomicU64,
    upload: AtomicU8,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            moved: AtomicU64::new(0),
            upload: AtomicU8::new(Upload::Held as u8),
        }
    }

    pub(crate) fn upload(&self) -> Upload {
        match self.upload.load(Relaxed) {
            0 => Upload::Held,
            1 => Upload::Wanted,
            2 => Upload::Done,
            3 => Upload::TooLarge,
            _ => Upload::Broken,
        }
    }

    fn set(&self, upload: Upload) {
        self.upload.store(upload as u8, Relaxed);
    }

    /// A frame has moved, or the body has ended.
    pub(crate) fn touch(&self, upload: Upload) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Relaxed);
        self.set(upload);
    }

    /// When the body last moved; its creation, if it never has.
    pub(crate) fn last_moved(&self) -> Instant {
        self.start + Duration::from_millis(self.moved.load(Relaxed))
    }
}
