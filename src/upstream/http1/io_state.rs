//! What a connection's stream and its owner tell each other; hyper stands between them.

use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};

/// What every frame may have cost beyond its length: the line of its chunk, with an extension.
const PER_FRAME: usize = 256;

#[derive(Debug, Default)]
pub(super) struct IoState {
    /// No other request may be sent here.
    spent: AtomicBool,
    /// The bytes belong to a tunnel: a failed write is an error again, as there is no response to wait for, and
    /// whatever is read is passed on.
    tunnel: AtomicBool,
    /// A request is about to be written to a connection that was used before.
    asking: AtomicBool,
    /// How many bytes have been read and not passed on: heads, interim ones too, chunk sizes and trailers, and what of
    /// a body has been read ahead.
    unpassed: AtomicUsize,
}

impl IoState {
    pub(super) fn is_spent(&self) -> bool {
        self.spent.load(Relaxed)
    }

    pub(super) fn spend(&self) {
        self.spent.store(true, Relaxed);
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }

    pub(super) fn become_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    pub(super) fn ask(&self) {
        self.asking.store(true, Relaxed);
    }

    pub(super) fn take_asking(&self) -> bool {
        // Set once per request and read with every read, so mostly it is only looked at.
        self.asking.load(Relaxed) && self.asking.swap(false, Relaxed)
    }

    pub(super) fn unpassed(&self) -> usize {
        match self.is_tunnel() {
            true => 0,
            false => self.unpassed.load(Relaxed),
        }
    }

    pub(super) fn has_read(&self, len: usize) {
        self.unpassed.fetch_add(len, AcqRel);
    }

    /// A response head has been passed on.
    pub(super) fn passed_head(&self) {
        self.unpassed.store(0, Relaxed);
    }

    /// A frame of a body has been passed on.
    pub(super) fn passed_frame(&self, len: usize) {
        let passed = |unpassed: usize| Some(unpassed.saturating_sub(len + PER_FRAME));
        // It never refuses.
        let _ = self.unpassed.fetch_update(AcqRel, Relaxed, passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_pays_for_what_was_read() {
        let state = IoState::default();
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
        let state = IoState::default();
        assert!(!state.take_asking());
        state.ask();
        assert!(state.take_asking());
        assert!(!state.take_asking());
    }
}
