//! State that a connection's stream shares with the connection's owner.
//!
//! hyper owns the stream and gives no access to it, so what the two have to tell each other goes through an
//! `Arc<IoState>`:
//!
//! | | written by | read by |
//! |---|---|---|
//! | `spent` | both | the owner, before the connection is reused |
//! | `tunnel` | the owner, after a 101 | the stream |
//! | `asking` | the owner, before a request | the stream, with its next read |
//! | `unpassed` | both: read bytes added, passed-on bytes subtracted | the stream, before each read |
//!
//! The flags are relaxed, because they guard no other data.

use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};

use crate::upstream::connection_counts::CountedConnection;

/// Bytes that a frame may have cost beyond its length: the line with the size of its chunk, with an extension.
const PER_FRAME: usize = 256;

/// The state of one stream, from the handshake to the end of the connection.
#[derive(Debug)]
pub(super) struct IoState {
    /// No other request may be sent on this connection. Never reset.
    spent: AtomicBool,
    /// The bytes belong to a tunnel: a failed write is an error again, as there is no response to wait for, and all
    /// that is read is passed on. Never reset.
    tunnel: AtomicBool,
    /// A request is about to be written to a connection that was used before. Reset by the read that sees it.
    asking: AtomicBool,
    /// Bytes that have been read and not passed on: heads, those of interim responses too, chunk sizes and trailers,
    /// and the part of a body that has been read ahead.
    unpassed: AtomicUsize,
    /// Counts the connection as open.
    open: CountedConnection,
}

impl IoState {
    /// Returns the state of a connection that `open` counts.
    pub(super) fn new(open: CountedConnection) -> Self {
        Self {
            spent: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            asking: AtomicBool::new(false),
            unpassed: AtomicUsize::new(0),
            open,
        }
    }

    /// Returns what counts the connection.
    pub(super) fn open(&self) -> &CountedConnection {
        &self.open
    }

    /// Returns whether the connection may not be reused.
    pub(super) fn is_spent(&self) -> bool {
        self.spent.load(Relaxed)
    }

    /// Marks the connection as not reusable.
    pub(super) fn spend(&self) {
        self.spent.store(true, Relaxed);
    }

    /// Returns whether the bytes belong to a tunnel.
    pub(super) fn is_tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }

    /// Records that the bytes belong to a tunnel from now on.
    pub(super) fn become_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    /// Announces a request on a connection that was used before, so that the next read looks for a close.
    pub(super) fn ask(&self) {
        self.asking.store(true, Relaxed);
    }

    /// Returns whether a request has been announced, once.
    pub(super) fn take_asking(&self) -> bool {
        // Set once per request and looked at by every read: a load is cheaper than a swap.
        self.asking.load(Relaxed) && self.asking.swap(false, Relaxed)
    }

    /// Returns the number of bytes read and not passed on; 0 for a tunnel, which has no limit.
    pub(super) fn unpassed(&self) -> usize {
        match self.is_tunnel() {
            true => 0,
            false => self.unpassed.load(Relaxed),
        }
    }

    /// Adds `len` bytes to those not passed on.
    pub(super) fn has_read(&self, len: usize) {
        self.unpassed.fetch_add(len, AcqRel);
    }

    /// Records that a response head has been passed on, with all that was read before it.
    pub(super) fn passed_head(&self) {
        self.unpassed.store(0, Relaxed);
    }

    /// Records that a frame of `len` bytes has been passed on.
    ///
    /// Subtracts its length and [`PER_FRAME`], and stops at 0: what frames did not use up is not saved for later
    /// overhead.
    pub(super) fn passed_frame(&self, len: usize) {
        let passed = |unpassed: usize| Some(unpassed.saturating_sub(len + PER_FRAME));
        // The closure always returns `Some`, so the update cannot fail.
        let _ = self.unpassed.fetch_update(AcqRel, Relaxed, passed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{telemetry::PoolMetrics, upstream::connection_counts::ConnectionCounts};

    fn state() -> IoState {
        let counts = Arc::<ConnectionCounts>::default();
        IoState::new(counts.opened(PoolMetrics::of_pool(&"a".into()).opened()))
    }

    #[test]
    fn what_is_passed_on_pays_for_what_was_read() {
        let state = state();
        state.has_read(1000);
        state.passed_frame(600);
        assert_eq!(state.unpassed(), 1000 - 600 - PER_FRAME);
        state.passed_frame(600);
        assert_eq!(state.unpassed(), 0, "nothing is saved up");
        state.has_read(PER_FRAME + 2);
        state.passed_frame(1);
        assert_eq!(state.unpassed(), 1);
        state.become_tunnel();
        assert_eq!(state.unpassed(), 0);
    }

    #[test]
    fn a_request_is_asked_for_once() {
        let state = state();
        assert!(!state.take_asking());
        state.ask();
        assert!(state.take_asking());
        assert!(!state.take_asking());
    }
}
