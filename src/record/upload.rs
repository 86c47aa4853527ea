//! The progress of a request body, as the side that waits for the response sees it.
//!
//! States:
//!
//! - `None`: the request has no body. It is also the state before [`Upload::begin`].
//! - `Held`: the body has more, and the endpoint has not asked for it. It is the endpoint's turn.
//! - `Wanted`: the endpoint has asked, and the client has not sent yet. It is the client's turn. The next frame leads
//!   back to `Held`.
//! - `Undecided`: the client waits to be asked for the body (`Expect: 100-continue`), and the endpoint has not answered
//!   yet. It is the endpoint's turn. Its 100, or its silence, leads to `Held`; a final response to `Done`.
//! - `Done`: the body ended, or was dropped by an endpoint that wants no more of it.
//! - `TooLarge`, `Broken`: the body failed, by the client's fault.
//!
//! The distinction between `Held` and `Wanted` decides which side an idle timeout is attributed to: a client that
//! stalled (408) or an endpoint that does not read (504).

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
    time::Duration,
};

use tokio::time::Instant;

use crate::error::ErrorKind;

/// Which side has to move the request body next, or how the body ended.
///
/// The numbers are the values that [`Upload`] stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum UploadState {
    /// The request has no body.
    None = 0,
    /// There is more to send, and the endpoint has not asked for it.
    Held = 1,
    /// The endpoint has asked for more, and the client has not sent it.
    Wanted = 2,
    /// The body has ended, or the endpoint wants no more of it.
    Done = 3,
    /// The body exceeded a limit.
    TooLarge = 4,
    /// The body ended early, or its framing was invalid.
    Broken = 5,
    /// The endpoint has not said whether it wants the body.
    Undecided = 6,
}

/// The progress of a request body, shared by the body, which writes it, and the side that waits for the response.
///
/// `moved` is relaxed, because the timers that read it look again when they fire. `state` is published with release
/// ordering and read with acquire: a connection may be reused only when its request has been sent completely, which the
/// thread that reads the response learns from here.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Milliseconds from the beginning of the exchange to the last movement.
    moved: AtomicU64,
    /// An [`UploadState`].
    state: AtomicU8,
}

/// Notified once when the endpoint has received the whole request body, or wants no more of it.
///
/// The load estimate uses it to start measuring an endpoint's response time only when the client has finished sending.
pub(crate) trait OnSent: Send + Sync {
    /// Called by the task that polls the body to its end or drops it; must not block.
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
    /// Returns the current state.
    pub(crate) fn state(&self) -> UploadState {
        match self.state.load(Acquire) {
            0 => UploadState::None,
            1 => UploadState::Held,
            2 => UploadState::Wanted,
            3 => UploadState::Done,
            4 => UploadState::TooLarge,
            5 => UploadState::Broken,
            _ => UploadState::Undecided,
        }
    }

    /// Returns whether the body still has something to send.
    pub(crate) fn is_under_way(&self) -> bool {
        use UploadState::{Held, Undecided, Wanted};
        matches!(self.state(), Held | Wanted | Undecided)
    }

    /// Returns why the body failed by the client's fault, or `None` if it did not.
    pub(crate) fn error(&self) -> Option<ErrorKind> {
        match self.state() {
            UploadState::TooLarge => Some(ErrorKind::BodyTooLarge),
            UploadState::Broken => Some(ErrorKind::RequestBody),
            _ => None,
        }
    }

    /// Records that there is a body to send.
    pub(crate) fn begin(&self) {
        self.state.store(UploadState::Held as u8, Release);
    }

    /// Records that a frame has moved or that the body has ended, now, in an exchange that began at `start`.
    pub(super) fn touch(&self, start: Instant, state: UploadState) {
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Relaxed);
        self.state.store(state as u8, Release);
    }

    /// Returns when the body last moved, or the beginning of the exchange if it never has.
    pub(super) fn last_moved(&self, start: Instant) -> Instant {
        start + Duration::from_millis(self.moved.load(Relaxed))
    }
}
