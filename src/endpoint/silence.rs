//! How long an endpoint has been silent while a request waits for its answer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::peers::Micros;

/// Bits of the count of requests that wait. The rest is a time: 2^44 microseconds are half a year, and wrap.
const COUNT: u32 = 20;
const MAX_COUNT: u64 = (1 << COUNT) - 1;

/// A stalled endpoint shows here before any deadline passes.
///
/// nginx takes the age of the oldest unanswered request. One long poll would then make an endpoint that answers
/// thousands look stalled; so what counts is how long ago it gave any answer, or was first asked since.
#[derive(Debug, Default)]
pub(super) struct Silence(AtomicU64);

impl Silence {
    pub(super) fn asked(&self, now: Micros) {
        self.change(|since, waiting| match waiting {
            0 => (now, 1),
            _ => (since, (waiting + 1).min(MAX_COUNT)),
        });
    }

    /// One request less waits; `heard` if that is because the endpoint answered.
    pub(super) fn answered(&self, now: Micros, heard: bool) {
        self.change(|since, waiting| (if heard { now } else { since }, waiting.saturating_sub(1)));
    }

    /// The silence in seconds, if anybody waits.
    pub(super) fn lasted(&self, now: Micros) -> Option<f32> {
        let (since, waiting) = split(self.0.load(Relaxed));
        (waiting > 0).then(|| (now & (u64::MAX >> COUNT)).saturating_sub(since) as f32 * 1e-6)
    }

    fn change(&self, change: impl Fn(Micros, u64) -> (Micros, u64)) {
        let changed = |state| {
            let (since, waiting) = split(state);
            let (since, waiting) = change(since, waiting);
            Some(since << COUNT | waiting)
        };
        // It always gives a value, so this cannot fail.
        let _ = self.0.fetch_update(Relaxed, Relaxed, changed);
    }
}

fn split(state: u64) -> (Micros, u64) {
    (state >> COUNT, state & MAX_COUNT)
}
