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
//!
//! A request that is sent again has a body of its own for each attempt, and one upload follows another. Each has a
//! generation, and only the body of the latest one writes: the connection of a failed attempt may hold its body for
//! long, and drop it while the next attempt sends the same data.

use std::{
    sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
    time::Duration,
};

use tokio::time::Instant;

use crate::error::ErrorKind;

/// Which side has to move the request body next, or how the body ended.
///
/// The numbers are the values that [`Upload`] stores, in eight bits.
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
    /// An [`UploadState`] in the lowest eight bits, and above them the generation that it belongs to. In one atomic, so
    /// that the check of a generation and the change of its state are one step.
    state: AtomicU64,
    /// The number of bytes of the latest upload so far.
    bytes: AtomicU64,
}

/// Where the generation begins in [`Upload::state`].
const GENERATION: u32 = 8;

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
            state: AtomicU64::new(pack(0, UploadState::None)),
            bytes: AtomicU64::new(0),
        }
    }
}

impl Upload {
    /// Returns the current state.
    pub(crate) fn state(&self) -> UploadState {
        unpack(self.state.load(Acquire)).1
    }

    /// Returns the current state if it belongs to this generation, or `None` if another upload has begun since.
    pub(crate) fn state_of(&self, generation: u32) -> Option<UploadState> {
        let (latest, state) = unpack(self.state.load(Acquire));
        (latest == generation).then_some(state)
    }

    /// Returns whether the body still has something to send.
    pub(crate) fn is_under_way(&self) -> bool {
        self.state().is_under_way()
    }

    /// Returns why the body failed by the client's fault, or `None` if it did not.
    pub(crate) fn error(&self) -> Option<ErrorKind> {
        match self.state() {
            UploadState::TooLarge => Some(ErrorKind::BodyTooLarge),
            UploadState::Broken => Some(ErrorKind::RequestBody),
            _ => None,
        }
    }

    /// Begins another upload, now and in this state, in an exchange that began at `start`. Returns its generation,
    /// which is never 0.
    ///
    /// What the body of an earlier generation does is no longer recorded.
    pub(super) fn begin(&self, start: Instant, state: UploadState) -> u32 {
        self.moved.store(millis_since(start), Relaxed);
        self.bytes.store(0, Relaxed);
        let mut before = self.state.load(Relaxed);
        loop {
            // The generation would wrap after four billion attempts of one exchange.
            let next = unpack(before).0.wrapping_add(1).max(1);
            let begun = pack(next, state);
            match self
                .state
                .compare_exchange_weak(before, begun, Release, Relaxed)
            {
                Ok(_) => return next,
                Err(now) => before = now,
            }
        }
    }

    /// Records that a frame has moved or that the body has ended, now, in an exchange that began at `start`. Does
    /// nothing if the upload of this generation is not the latest.
    pub(super) fn touch(&self, start: Instant, generation: u32, state: UploadState) {
        if self.state_of(generation).is_none() {
            return;
        }
        self.moved.store(millis_since(start), Relaxed);
        let change = |latest| (unpack(latest).0 == generation).then(|| pack(generation, state));
        // If another upload has begun by now, it has moved just now, too, so only the state must not change.
        let _ = self.state.fetch_update(Release, Relaxed, change);
    }

    /// Counts bytes of the body of this generation. Does nothing if that is not the latest.
    pub(super) fn add(&self, generation: u32, bytes: u64) {
        if self.state_of(generation).is_some() {
            self.bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// Returns the number of bytes of the latest upload so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Returns when the body last moved, or the beginning of the exchange if it never has.
    pub(super) fn last_moved(&self, start: Instant) -> Instant {
        start + Duration::from_millis(self.moved.load(Relaxed))
    }
}

impl UploadState {
    /// Returns whether the body still has something to send.
    pub(crate) fn is_under_way(self) -> bool {
        matches!(self, Self::Held | Self::Wanted | Self::Undecided)
    }
}

/// Returns the value of [`Upload::state`] for a state of a generation.
fn pack(generation: u32, state: UploadState) -> u64 {
    u64::from(generation) << GENERATION | state as u64
}

/// Returns the generation and the state that a value of [`Upload::state`] stands for.
fn unpack(packed: u64) -> (u32, UploadState) {
    let state = match packed & 0xff {
        0 => UploadState::None,
        1 => UploadState::Held,
        2 => UploadState::Wanted,
        3 => UploadState::Done,
        4 => UploadState::TooLarge,
        5 => UploadState::Broken,
        _ => UploadState::Undecided,
    };
    ((packed >> GENERATION) as u32, state)
}

/// Returns the time since `start` in milliseconds.
fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn only_the_latest_upload_is_recorded() {
        let (start, upload) = (Instant::now(), Upload::default());
        let first = upload.begin(start, UploadState::Held);
        upload.touch(start, first, UploadState::Done);
        advance(SECOND).await;
        let second = upload.begin(start, UploadState::Held);
        assert_eq!(upload.last_moved(start), start + SECOND);
        assert_eq!(upload.state_of(first), None);

        advance(SECOND).await;
        upload.touch(start, first, UploadState::Broken);
        assert_eq!(upload.state(), UploadState::Held);
        assert_eq!(upload.last_moved(start), start + SECOND);

        upload.touch(start, second, UploadState::Wanted);
        assert_eq!(upload.state_of(second), Some(UploadState::Wanted));
        assert_eq!(upload.last_moved(start), start + 2 * SECOND);
    }

    #[test]
    fn a_state_is_stored_whole() {
        use UploadState::{Broken, Done, Held, None, TooLarge, Undecided, Wanted};
        for state in [None, Held, Wanted, Done, TooLarge, Broken, Undecided] {
            for generation in [0, 1, u32::MAX] {
                assert_eq!(unpack(pack(generation, state)), (generation, state));
            }
        }
    }
}
