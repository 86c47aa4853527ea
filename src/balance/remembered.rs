//! The latency estimates of endpoints that have left a cluster.
//!
//! An endpoint that is restarted, or that a flapping discovery removes and inserts again, would otherwise start anew,
//! and its estimate would have to be learned at the expense of requests. Only the estimate is kept: what was in flight,
//! a `Retry-After` and the slow start belong to one insertion.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::endpoint::Latency;

/// How many endpoints that left are remembered.
///
/// This is enough for a rolling restart of a large cluster, and bounds the memory that names which never come back may
/// take, as those of pods with a random suffix.
const CAPACITY: usize = 1024;

/// The latency estimates of endpoints that left, by name.
///
/// At most [`CAPACITY`] of them are kept; the endpoints that left longest ago are forgotten first. An entry stays when
/// its endpoint comes back, and the estimate is then shared by both.
///
/// Invariant: `by_name` and `order` have the same entries, and each number in `by_name` is a key of `order`.
#[derive(Default)]
pub(super) struct Remembered {
    /// The number of the departure, and the estimate.
    by_name: HashMap<Arc<str>, (u64, Arc<Latency>)>,
    /// Names by the number of their last departure, the oldest first.
    order: BTreeMap<u64, Arc<str>>,
    /// The number of the latest departure. At 64 bits it does not wrap.
    next: u64,
}

impl Remembered {
    /// Returns the estimate of the endpoint that had this name last, if it is remembered.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Latency>> {
        self.by_name.get(name).map(|(_, latency)| latency)
    }

    /// Remembers the estimate of an endpoint that leaves now, in the place of an older one of the same name.
    pub(super) fn insert(&mut self, name: &Arc<str>, latency: &Arc<Latency>) {
        self.next += 1;
        let entry = (self.next, latency.clone());
        if let Some((before, _)) = self.by_name.insert(name.clone(), entry) {
            self.order.remove(&before);
        }
        self.order.insert(self.next, name.clone());
        if self.order.len() > CAPACITY {
            if let Some((_, oldest)) = self.order.pop_first() {
                self.by_name.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_left_longest_ago_are_forgotten_first() {
        let mut remembered = Remembered::default();
        let latency = Arc::default();
        for name in (0..CAPACITY).chain([0, CAPACITY, 0]) {
            remembered.insert(&name.to_string().into(), &latency);
        }
        assert_eq!(remembered.by_name.len(), CAPACITY);
        assert_eq!(remembered.order.len(), CAPACITY);
        assert!(remembered.get("0").is_some(), "it left again");
        assert!(remembered.get("1").is_none());
        assert!(remembered.get(&CAPACITY.to_string()).is_some());
    }
}
