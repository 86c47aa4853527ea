//! The turn of an endpoint among those that cost the same.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::siblings::{STRIDE, Siblings};

/// A position in a stride schedule (Waldspurger and Weihl 1995).
///
/// Each pick moves it on by [`STRIDE`] by weight, and of endpoints that cost the same, the one that is furthest behind
/// is picked. Two picks at the same time may move it on once, which evens out.
#[derive(Debug, Default)]
pub(super) struct Turn {
    position: AtomicU64,
    /// The number of the last pick among those of the cluster.
    picked: AtomicU64,
}

impl Turn {
    /// Returns the position, and the number of the last pick, which decides between equal positions.
    pub(super) fn get(&self) -> (u64, u64) {
        (self.position.load(Relaxed), self.picked.load(Relaxed))
    }

    /// Moves on by a pick of the endpoint, whose weight is `weight` now.
    pub(super) fn take(&self, siblings: &Siblings, weight: f32) {
        // An endpoint of a very large weight moves on, too.
        let step = ((STRIDE as f32 / weight) as u64).max(1);
        let position = siblings.take_turn(self.position.load(Relaxed)) + step;
        self.position.store(position, Relaxed);
        self.picked.store(siblings.next_pick(), Relaxed);
    }
}
