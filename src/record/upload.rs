//! How far a request body has come, seen from the response's side of the exchange.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
    time::Duration,
};

use tokio::time::Instant;

/// Which side has to move the request body next, or how the body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum UploadState {
    /// There is no body to send.
    None = 0,
    /// The endpoint has not asked for more.
    Held = 1,
    /// The endpoint wants more and the client has not sent it.
    Wanted = 2,
    /// The body has ended, or the endpoint wants no more of it.
    Done = 3,
    /// The body is larger than its limit.
    TooLarge = 4,
    /// The client broke the body off, or framed it badly.
    Broken = 5,
}

/// The request body's progress, shared between the body and the side that waits for the response.
///
/// The time carries no ordering: the timers that read it look again later. The state is published with release
/// ordering, because a connection may only be used again when its request has been sent.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Milliseconds from the beginning of the exchange to the last movement.
    moved: AtomicU64,
    state: AtomicU8,
}

/// Told when an endpoint has had the whole request body, or wants no more of it.
pub(crate) trait OnSent: Send + Sync {
    fn sent(&self);
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            moved: AtomicU64::new(0),
            state: AtomicU8::new(UploadState::None as u8),
        }
    }
}

impl Upload {
    pub(crate) fn state(&self) -> UploadState {
        match self.state.load(Acquire) {
            0 => UploadState::None,
            1 => UploadState::Held,
            2 => UploadState::Wanted,
            3 => UploadState::Done,
            4 => UploadState::TooLarge,
            _ => UploadState::Broken,
        }
    }

    /// Whether the body still has something to send.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.state(), UploadState::Held | UploadState::Wanted)
    }

    /// Whether the client is at fault for the body's end.
    pub(crate) fn is_failed(&self) -> bool {
        matches!(self.state(), UploadState::TooLarge | UploadState::Broken)
    }

    /// Notes that there is a body to send.
    pub(crate) fn begin(&self) {
        self.state.store(UploadState::Held as u8, Release);
    }

    /// Notes that a frame has moved or that the body has ended, in an exchange that began at `start`.
    pub(super) fn touch(&self, start: Instant, state: UploadState) {
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Relaxed);
        self.state.store(state as u8, Release);
    }

    /// When the body last moved; the beginning of the exchange if it never has.
    pub(super) fn last_moved(&self, start: Instant) -> Instant {
        start + Duration::from_millis(self.moved.load(Relaxed))
    }
}
