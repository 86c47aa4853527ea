//! The memory of responses in flight.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many bytes the responses that are being stored may occupy together.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    used: AtomicUsize,
    max: usize,
}

/// A part of it, which is returned when this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl MemoryBudget {
    pub(super) fn new(max: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            max,
        }
    }

    /// Returns how many bytes are in use.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Reserved {
    /// Returns a part of no bytes.
    pub(super) fn none(budget: Arc<MemoryBudget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Returns the number of bytes that are reserved.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reserves more bytes. Returns `false` if there are not as many.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let max = self.budget.max;
        let grown = |used: usize| used.checked_add(bytes).filter(|used| *used <= max);
        let used = &self.budget.used;
        let is_grown = used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .is_ok();
        if is_grown {
            self.bytes += bytes;
        }
        is_grown
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_returned() {
        let budget = Arc::new(MemoryBudget::new(10));
        let mut one = Reserved::none(budget.clone());
        let mut other = Reserved::none(budget.clone());
        assert!(one.grow(4) && other.grow(6) && !one.grow(1));
        drop(other);
        assert_eq!(budget.used(), 4);
        assert!(one.grow(6) && !one.grow(usize::MAX));
        drop(one);
        assert_eq!(budget.used(), 0);
    }
}
